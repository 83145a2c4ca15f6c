"""Work that takes long is done in a thread, so that it stops nobody else: `work` sleeps, all else is echoed at once."""

import sys
import time

import fsmserver
from fsmserver.runtime.binding import Tcp

work_s = 5.0  # the second argument


def work():
    time.sleep(work_s)
    return b"done\n"


class Slow:
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        if data.strip() == b"work":
            job = self.transport.scheduler.run_in_executor(work)
            job.add_done_callback(lambda done: self.transport.write(done.result()))  # in the loop's thread
        else:
            self.transport.write(data)


if __name__ == "__main__":
    work_s = float(sys.argv[2]) if len(sys.argv) > 2 else work_s
    with fsmserver.Server(Slow, Tcp("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8008)) as server:
        print(server.address[1], flush=True)
        server.run(handle_signals=True)
