"""Echo, served until SIGINT or SIGTERM. The first argument is the port (8008 by default, 0: the system chooses)."""

import sys

import fsmserver
from fsmserver.runtime.binding import Tcp


class Echo:
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


if __name__ == "__main__":
    with fsmserver.Server(Echo, Tcp("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8008)) as server:
        print(server.address[1], flush=True)
        server.run(handle_signals=True)
