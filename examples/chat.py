"""A chat of lines: what one says, all the others hear. Lines are bounded, and who reads too slowly misses some."""

import sys

import fsmserver
from fsmserver.runtime.binding import Tcp

LINE_BYTES = 1000
members = []  # one thread, so no lock


class Chat:
    def connection_made(self, transport):
        self.transport, self.partial, self.slow = transport, b"", False
        members.append(self)
        transport.write(b"welcome\n")

    def data_received(self, data):
        *lines, self.partial = (self.partial + data).split(b"\n")
        if max(map(len, [*lines, self.partial])) > LINE_BYTES:
            self.transport.write(b"that line is too long; goodbye\n")
            self.transport.close()
            return
        for line in lines:
            for member in members:
                if member is not self and not member.slow:
                    member.transport.write(line + b"\n")

    def pause_writing(self):  # the outbox is over its high mark: this member does not read
        self.slow = True

    def resume_writing(self):
        self.slow = False

    def connection_lost(self, _error):
        members.remove(self)


if __name__ == "__main__":
    with fsmserver.Server(Chat, Tcp("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8008)) as server:
        print(server.address[1], flush=True)
        server.run(handle_signals=True)
