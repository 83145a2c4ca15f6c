"""One script of operations, on the simulated kernel and on real loopback sockets: every result is the same.

Both ends of every connection are in this process, on both sides, and the same code performs the operations on both
(`sides.Side`): only the modules under it differ. After each operation these are compared:

- what it gave: bytes, counts, names, descriptors (as distances from the lowest that was free), or the errno;
- the readiness of every open socket, as the poller in question reports it.

`python -m tests.parity --scripts 10000 --poller all` makes as many random scripts; what differs is printed as the
shortest script that still differs. `tests/parity/removed.py` takes single rules of the kernel away, and each is missed.

What cannot be compared, and why:

- sizes of buffers, how much a full one takes: Linux counts memory, not bytes, and tunes it. A full direction is
  compared by what does not depend on sizes: EAGAIN comes, OUT goes, a little reading does not bring it back, draining
  does, every byte arrives in order, the end comes after the bytes.
- when things arrive: loopback is as good as immediate; a difference may last 200 ms at most.
- Nagle's algorithm, delayed acknowledgements: timing; both sides have TCP_NODELAY.
- urgent data behind a full buffer: Linux announces the byte with its window probes, before it comes: timing.
- SHUT_RD at the reader of a full direction: Linux sends no window updates then; bytes move on with the next probe:
  timing.
- a backlog that is full: the client's SYN is sent again after a second: timing.
- connect that does not block: the simulated kernel connects at once.
- closing with SO_LINGER and a time: it blocks, on a non-blocking socket too: timing.
- binding and listening once a connection is over: Linux gives a client's port back then.
- TIME_WAIT, ports that are still taken, which port is free: the simulated kernel does not run out of them.
- the order in which a poller reports: Linux: in the order in which things became ready; here by descriptor, so that
  runs repeat.
- faults: real sockets cannot be asked for them; each has its unit test.
- a pair of sockets: here it is a connection like any other; a real one is of the family AF_UNIX.
"""
