"""The protocol that is served when none is named."""

from fsmserver.runtime.transport import Transport


class Echo:
    """Sends back what comes."""

    transport: Transport

    def connection_made(self, transport: Transport) -> None:
        """Remember where to write."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Send it back."""
        self.transport.write(data)
