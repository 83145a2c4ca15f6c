"""A line protocol with a planted bug, and the search that finds it: `python examples/lines.py`.

Each line is answered by the same line backwards. The bug: a line that comes in more than one piece loses its beginning.
"""

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import rule

from fsmserver.testing.stateful import ServerMachine, run_machine


class Backwards:
    rest = b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        *lines, self.rest = data.split(b"\n")  # the bug: it should be (self.rest + data)
        for line in lines:
            self.transport.write(line[::-1] + b"\n")


class Mended(Backwards):
    def data_received(self, data):
        super().data_received(self.rest + data)


# The test: everything that `ServerMachine` does to a server, and one rule of the protocol's own.


class BackwardsMachine(ServerMachine):
    protocol = Backwards
    faults = False

    def configure(self, config):
        return replace(config, handshake=False)

    def payload(self, peer, size_bytes):
        return b"x" * (size_bytes - 1) + b"\n"

    @rule(word=st.text("abc", min_size=1, max_size=8), cut=st.integers(0, 8))
    def a_line_in_two_pieces_is_answered(self, word, cut):
        peer = self.connect()
        if peer.link is None:
            return  # the server is full
        line = word.encode() + b"\n"
        self.tell(peer, line[:cut])
        self.tell(peer, line[cut:])
        assert self.hear(peer) == word.encode()[::-1] + b"\n", f"{line!r} was answered by {peer.heard!r}"


if __name__ == "__main__":
    run_machine(BackwardsMachine)
