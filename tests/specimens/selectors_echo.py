"""An echo server on the module `selectors`, as one writes it who knows how such servers fail; it knows nothing of this project."""

import errno
import selectors
import socket

HIGH_BYTES = 64 * 1024
REST_S = 1.0
SELECT_CEILING = 1024
OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class Client:
    def __init__(self, server: "Server", sock: socket.socket) -> None:
        self.server = server
        self.sock = sock
        self.outgoing = bytearray()
        self.ended = False
        server.selector.register(sock, selectors.EVENT_READ, self)

    def ready(self, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                self.receive()
            if self.outgoing:
                self.send()
        except BlockingIOError:
            pass  # a spurious report, or a full buffer
        except OSError:
            self.close()
            return
        self.follow()

    def receive(self) -> None:
        try:
            data = self.sock.recv(4096)
        except BlockingIOError:
            return
        self.outgoing += data
        self.ended = not data

    def send(self) -> None:
        del self.outgoing[: self.sock.send(self.outgoing)]

    def follow(self) -> None:
        events = selectors.EVENT_WRITE if self.outgoing else 0
        if not self.ended and len(self.outgoing) < HIGH_BYTES:
            events |= selectors.EVENT_READ
        if events:
            self.server.selector.modify(self.sock, events, self)
        else:
            self.close()

    def close(self) -> None:
        self.server.selector.unregister(self.sock)
        self.sock.close()
        self.server.listen()


class Server:
    def __init__(self, host: str, port: int, selector_name: str) -> None:
        self.selector: selectors.BaseSelector = getattr(selectors, selector_name)()
        self.listener = socket.create_server((host, port))
        self.listener.setblocking(False)
        self.resting = True
        self.listen()

    def listen(self) -> None:
        if self.resting:
            self.selector.register(self.listener, selectors.EVENT_READ)
            self.resting = False

    def rest(self) -> None:
        self.selector.unregister(self.listener)
        self.resting = True

    def accept(self) -> None:
        try:
            sock, _ = self.listener.accept()
        except OSError as error:
            if error.errno in OUT_OF_DESCRIPTORS:
                self.rest()
            return
        sock.setblocking(False)
        if isinstance(self.selector, selectors.SelectSelector) and sock.fileno() >= SELECT_CEILING:
            sock.close()
            return
        Client(self, sock)

    def run(self) -> None:
        while True:
            events = self.selector.select(REST_S if self.resting else None)
            if not events:
                self.listen()
            for key, mask in events:
                if key.data is None:
                    self.accept()
                else:
                    key.data.ready(mask)


def main(host: str, port: int, selector_name: str = "DefaultSelector") -> None:
    Server(host, port, selector_name).run()
