"""Goodput: what was answered in time, second by second, and how long it stays low when its trigger has gone.

A failure is *metastable* where it outlasts its trigger: what keeps the server down is then the load that the failure
itself makes (Bronson et al., "Metastable Failures in Distributed Systems", HotOS 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LOW = 0.5
"""Share of the offered load below which goodput is called low."""


@dataclass(frozen=True, slots=True)
class Aftermath:
    """Of one run, from the first whole second after its trigger to the last one in which load was offered."""

    low_s: int
    """Seconds with low goodput."""
    recovered_after_s: float
    """From the trigger's end until goodput was low no more; infinite where it was low to the end."""
    watched_s: int


def per_second(times_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many of these moments fall into each second from the run's start."""
    return np.bincount(np.clip(times_us // 1_000_000, 0, None).astype(np.int64))


def aftermath(
    goodput_per_s: Sequence[int], offered_per_s: float, trigger_over_s: float, load_ends_s: float
) -> Aftermath:
    """What came after the trigger; ``goodput_per_s`` counts answers in each second from the start."""
    first, last = int(np.ceil(trigger_over_s)), int(np.floor(load_ends_s))
    counts = np.zeros(max(last, len(goodput_per_s)), np.int64)
    counts[: len(goodput_per_s)] = goodput_per_s
    low = np.flatnonzero(counts[first:last] < LOW * offered_per_s)
    if not len(low):
        return Aftermath(0, max(0.0, first - trigger_over_s), max(0, last - first))
    until = first + int(low[-1]) + 1
    return Aftermath(len(low), np.inf if until == last else until - trigger_over_s, last - first)
