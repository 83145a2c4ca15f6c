"""What the clients do, one declaration: the load generator, the instruction counter, the tables and the pictures read it."""

from typing import NamedTuple

from benchmarks.servers import COMPILED, COMPILED_TRACED, FLOOR, OURS, TRACED

CROWD = 10_000
"""How many silent connections the crowd of workload g has."""


class Workload(NamedTuple):
    """`connections` with `outstanding` messages of `size` bytes under way each; what else there is beside them."""

    words: str
    connections: int = 100
    size: int = 64
    outstanding: int = 1
    idle: int = 0
    churn: int = 0
    firehose: int = 0

    @property
    def arguments(self) -> list[str]:
        """Give what load.c takes after the port."""
        return [str(value) for value in self[1:]]


WORKLOADS = {
    "a": Workload("1 x 64 B, ping-pong", connections=1),
    "b": Workload("100 x 64 B"),
    "c": Workload("1,000 x 1 KiB", connections=1000, size=1024),
    "d": Workload("10 x 64 KiB", connections=10, size=65536),
    "e": Workload("100 x 64 B, 16 outstanding", outstanding=16),
    "f": Workload("connect, one message, close", connections=20, churn=1),
    "g": Workload("10,000 idle + 100 x 64 B", idle=CROWD),
    "h": Workload("one firehose + 100 x 64 B", firehose=1),
    "i": Workload("100 x 64 B, trace on"),
}

ONLY = {"i": [OURS, TRACED, COMPILED, COMPILED_TRACED, FLOOR]}
"""Who takes part in a workload that is not for all."""

NOT_FOR_CROWDS = ["threads", "pyasyncore"]
"""Ten thousand threads are more than most systems allow; pyasyncore asks every connection in every round, and takes minutes."""


def takes_part(name: str, letter: str) -> bool:
    """Tell whether a server is measured in a workload."""
    if letter in ONLY:
        return name in ONLY[letter]
    if name in {TRACED, COMPILED_TRACED}:
        return False
    return not (name in NOT_FOR_CROWDS and WORKLOADS[letter].idle + WORKLOADS[letter].connections > CROWD // 2)
