"""An echo server on a plain select loop: `ConnectionFSM` decides, these lines act."""

import select
import socket
import sys

from fsmserver import ConnectionFSM

listener = socket.create_server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8008))
print(listener.getsockname()[1], flush=True)
connections: dict[socket.socket, ConnectionFSM] = {}
while True:
    inputs = [listener, *(sock for sock, fsm in connections.items() if fsm.wants_read)]
    outputs = [sock for sock, fsm in connections.items() if fsm.wants_write]
    readable, writable, _ = select.select(inputs, outputs, [])
    for sock in readable:
        if sock is listener:
            peer, fsm = listener.accept()[0], ConnectionFSM()
            peer.setblocking(False)
            fsm.open()
            connections[peer] = fsm
            continue
        try:
            data = sock.recv(65536)
            if data and connections[sock].receive(data):
                connections[sock].enqueue(data)
            elif not data:
                connections[sock].eof()
        except BlockingIOError:
            continue  # select may be wrong: nothing has happened
        except OSError as error:
            connections[sock].reset(error)
    for sock in writable:
        if connections[sock].wants_write:
            try:
                connections[sock].sent(sock.send(connections[sock].flush()[0]))
            except BlockingIOError:
                continue
            except OSError as error:
                connections[sock].reset(error)
    for sock, fsm in list(connections.items()):
        if fsm.closed:
            del connections[sock]
            sock.close()
