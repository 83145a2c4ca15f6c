"""Three ticks from the loop's own timer, then a graceful close. A timer that is no longer needed is cancelled."""

import sys

import fsmserver
from fsmserver.runtime.binding import Tcp

EVERY_S = 0.01


class Ticks:
    def connection_made(self, transport):
        self.transport, self.left = transport, 3
        self.timer = transport.scheduler.call_later(EVERY_S, self.tick)

    def tick(self):
        self.transport.write(b"tick\n")
        self.left -= 1
        if self.left:
            self.timer = self.transport.scheduler.call_later(EVERY_S, self.tick)
        else:
            self.transport.close()

    def connection_lost(self, _error):
        self.timer.cancel()


if __name__ == "__main__":
    with fsmserver.Server(Ticks, Tcp("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8008)) as server:
        print(server.address[1], flush=True)
        server.run(handle_signals=True)
