"""Statistics of requests, with the unanswered as what they are: observations beyond every answered one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

GRID_MS = tuple(float(f"{10 ** (exponent / 20):.4g}") for exponent in range(-40, 101))
"""Fixed grid of latencies, 10 µs to 100 s, 20 steps a decade: distributions on it can be kept, drawn and compared."""
TIMELINE_STEP_S = 0.1
TIMELINE_STEPS = 300
"""Answers are counted over the first 30 s in steps of 100 ms; what comes later is in the last step."""
CONNECTS_PER_STEP = 500
"""What connect() costs is summed up over so many in the order of their issue."""
QUANTILES: Mapping[str, float] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Latencies:
    """Latencies of all requests of a run: ``answered_ms`` sorted, shape (answered,), and how many were not answered."""

    answered_ms: NDArray[np.float64]
    unanswered: int

    def quantile(self, q: float) -> float | None:
        """The latency that a share of ``q`` of *all* requests did not exceed; None beyond the answered."""
        total = len(self.answered_ms) + self.unanswered
        rank = max(1, int(np.ceil(q * total - 1e-9)))
        return float(self.answered_ms[rank - 1]) if rank <= len(self.answered_ms) else None

    def shares(self) -> NDArray[np.float64]:
        """Share of all requests answered within each latency of :data:`GRID_MS`; shape (len(GRID_MS),)."""
        total = max(1, len(self.answered_ms) + self.unanswered)
        return np.searchsorted(self.answered_ms, GRID_MS, side="right") / total

    def answered_only(self) -> Latencies:
        """What a generator shows that forgets the failures."""
        return Latencies(self.answered_ms, 0)


def median_of_runs(values: ArrayLike) -> float:
    """Median over runs. A quantile of theirs that lies among the unanswered is NaN, and larger than any other: where
    the median lies among such it is infinite. NaN of no runs.
    """
    known = np.asarray(values, np.float64)
    return float(np.median(np.where(np.isnan(known), np.inf, known))) if len(known) else np.nan


def timeline(ends_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many answers ended in each step of :data:`TIMELINE_STEP_S` from the run's start; shape (TIMELINE_STEPS,)."""
    steps = np.clip(ends_us / (TIMELINE_STEP_S * 1e6), 0, TIMELINE_STEPS - 1).astype(np.int64)
    return np.bincount(steps, minlength=TIMELINE_STEPS)


def last_per_step(times_us: NDArray[np.int64], values: NDArray[np.int64]) -> list[int | None]:
    """The last value in each step of :data:`TIMELINE_STEP_S` from the run's start, None before the first; in order."""
    steps = np.floor(times_us / (TIMELINE_STEP_S * 1e6)).astype(np.int64)
    found: list[int | None] = []
    for step, value in zip(steps, values, strict=True):
        if 0 <= step < TIMELINE_STEPS:
            found += [found[-1] if found else None] * (step + 1 - len(found))
            found[step] = int(value)
    return found


def median_per_step(values: NDArray[np.float64]) -> list[float]:
    """The median of each :data:`CONNECTS_PER_STEP` values in a row, the last of fewer; in order."""
    return [
        float(np.median(values[first : first + CONNECTS_PER_STEP]))
        for first in range(0, len(values), CONNECTS_PER_STEP)
    ]


LEAST_PULSE = 0.01
"""A pulse is a stretch of answers without a silent step in it that holds at least this share of them."""


def pulses(answers_per_step: NDArray[np.int64]) -> list[tuple[int, int, int]]:
    """(first step, last step, answers) of each stretch of answers between silences of a step or more."""
    heard = np.flatnonzero(answers_per_step)
    if not len(heard):
        return []
    stretches = np.split(heard, np.flatnonzero(np.diff(heard) > 1) + 1)
    found = [(int(steps[0]), int(steps[-1]), int(answers_per_step[steps].sum())) for steps in stretches]
    return [pulse for pulse in found if pulse[2] >= LEAST_PULSE * answers_per_step.sum()]


def recovered_after_s(answers_per_step: NDArray[np.int64], rate_per_s: float, begin_s: float, end_s: float) -> float:
    """How long after ``begin_s`` the answers keep up with a steady rate, from then on until ``end_s``; NaN if never.

    They keep up in a step with at least half as many answers as requests come in it.
    """
    first, last = round(begin_s / TIMELINE_STEP_S), int(end_s / TIMELINE_STEP_S + 1e-9)
    behind = np.flatnonzero(np.asarray(answers_per_step[first:last]) < rate_per_s * TIMELINE_STEP_S / 2)
    steps = int(behind[-1]) + 1 if len(behind) else 0
    return float("nan") if steps >= last - first else steps * TIMELINE_STEP_S


def peak_overlap(begins: NDArray[np.int64], ends: NDArray[np.int64]) -> int:
    """The largest number of intervals that contain one moment; one that ends as another begins does not overlap it."""
    moments = np.concatenate([begins, ends])
    steps = np.concatenate([np.ones(len(begins), np.int64), -np.ones(len(ends), np.int64)])
    order = np.lexsort((steps, moments))
    return int(np.cumsum(steps[order]).max(initial=0))


def weighted_quantile(histogram: Sequence[tuple[float, int]], q: float) -> float | None:
    """Quantile of a histogram of (value, count), in order of value."""
    if not histogram:
        return None
    counts = np.cumsum([count for _, count in histogram])
    return float(histogram[int(np.searchsorted(counts, q * counts[-1]))][0])
