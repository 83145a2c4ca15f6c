"""The select() tutorial's echo server, with all its faults: the lists `inputs` and `outputs`, and a queue of messages a connection.

The structure is that of the well-known tutorial, which was written for Python 2 and is copied to this day. It is kept as
it is: what is wrong with it is for the search to find. One variant, also in circulation, does not tell an empty read from
one that brought data; it is here as `ignore_empty_reads`.
"""

import queue
import select
import socket


def main(host: str, port: int, *, ignore_empty_reads: bool = False) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.setblocking(False)
    server.bind((host, port))
    server.listen(5)

    inputs = [server]
    outputs: list[socket.socket] = []
    message_queues: dict[socket.socket, queue.Queue[bytes]] = {}

    while inputs:
        readable, writable, exceptional = select.select(inputs, outputs, inputs)

        for s in readable:
            if s is server:
                connection, _client_address = s.accept()
                connection.setblocking(False)
                inputs.append(connection)
                message_queues[connection] = queue.Queue()
            else:
                data = s.recv(1024)
                if data:
                    message_queues[s].put(data)
                    if s not in outputs:
                        outputs.append(s)
                elif not ignore_empty_reads:
                    if s in outputs:
                        outputs.remove(s)
                    inputs.remove(s)
                    s.close()
                    del message_queues[s]

        for s in writable:
            try:
                next_message = message_queues[s].get_nowait()
            except queue.Empty:
                outputs.remove(s)
            else:
                s.send(next_message)

        for s in exceptional:
            inputs.remove(s)
            if s in outputs:
                outputs.remove(s)
            s.close()
            del message_queues[s]
