"""Where a generator's choices come from: a seed, for campaigns, or a tape of bytes, for fuzzers."""

from __future__ import annotations

import random
from typing import Protocol


class EndOfTape(Exception):
    """There are no more choices."""


class Source(Protocol):
    """Gives choices."""

    def below(self, count: int, /) -> int:
        """Give a number from 0 to `count` - 1.

        Raises:
            EndOfTape: there are no more.

        """


class SeededSource:
    """Choices without end, the same for the same seed on every Python."""

    def __init__(self, seed: int) -> None:
        """Begin at `seed`."""
        self._random = random.Random(seed).random  # noqa: S311 - repeatable is what is wanted

    def below(self, count: int, /) -> int:
        """Give a number from 0 to `count` - 1."""
        return int(self._random() * count)


class TapeSource:
    """Choices from bytes: one for up to 256 possibilities, two for more. Any bytes are a valid tape."""

    def __init__(self, tape: bytes) -> None:
        """Begin at the start of `tape`."""
        self._bytes = iter(tape)

    def below(self, count: int, /) -> int:
        """Give a number from 0 to `count` - 1.

        Raises:
            EndOfTape: the tape is used up.

        """
        try:
            number = next(self._bytes)
            if count > 256:
                number = number << 8 | next(self._bytes)
        except StopIteration:
            raise EndOfTape from None
        return number % count
