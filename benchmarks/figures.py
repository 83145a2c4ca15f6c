"""Medians, quartiles and percentiles: all the arithmetic that the tables and pictures do."""

import statistics
from collections.abc import Iterable, Mapping
from typing import NamedTuple

BUCKET_RATIO = 1.02
"""load.c counts a latency of x µs in the bucket floor(log(x) / log(1.02)): percentiles are exact to 2 %."""


class Spread(NamedTuple):
    """A median between its quartiles."""

    low: float
    median: float
    high: float

    def text(self, digits: int = 2) -> str:
        """Write it as `median (low to high)`."""
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def spread(values: Iterable[float]) -> Spread:
    """Give the median and the quartiles; of one value, that value."""
    values = list(values)
    if len(values) < 2:
        return Spread(values[0], values[0], values[0])
    return Spread(*statistics.quantiles(values, n=4, method="inclusive"))


def ratios(values: Iterable[float], floor: Iterable[float]) -> Spread:
    """Give how many times the floor it costs: slice by slice, each to the floor's of the same round, then the median."""
    return spread(value / least for value, least in zip(values, floor, strict=True))


def percentile_us(buckets: Mapping[int, int], share: float) -> float:
    """Give the latency, in µs, that `share` of the messages did not exceed: the upper edge of its bucket."""
    wanted = share * sum(buckets.values())
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= wanted:
            return float(BUCKET_RATIO ** (bucket + 1))
    raise ValueError("there are no latencies")


def added(histograms: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """Add histograms up."""
    total: dict[int, int] = {}
    for histogram in histograms:
        for bucket, count in histogram.items():
            total[bucket] = total.get(bucket, 0) + count
    return total
