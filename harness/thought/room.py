"""What more room in an accept queue could have done: who waited for it, and what the server did meanwhile.

A queue that was never empty kept its server at work: more room gives that nothing to do that it has not got.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.events.rowtimes import Floats
from harness.thought import stats

Stretches = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Begins and ends, µs from the run's start."""
Phases = tuple[str, ...]
AT_THE_LISTENER = ("syn_dropped", "ghost")
"""The causes that a full queue of the listener brings about."""
STEP_US = 100_000
ENOUGH_ANSWERS = 16
"""So many answers in one step have a rate of their own, however short a part of it they took …"""
READ_TOGETHER_US = 10_000
"""… but no shorter than this: what a generator reads in one go was not all answered at that moment."""


def most_waiting(connections: pa.Table, causes: pa.Table) -> int:
    """The most connections that were issued and neither accepted nor given up at one moment, from their phases."""
    issued, accepted = _between(connections, causes, (), ("syn_wait_us", "ghost_wait_us", "queue_wait_us"))
    return stats.peak_overlap(issued, accepted)


def busy_rate(ends_us: Floats) -> float:
    """Answers a second while they came: in the better half of the steps that had any, at their median; else 0.

    In the others the server may have stood still, or had nothing to do for a part of the step.
    """
    ends = np.sort(ends_us)
    steps, begins, counts = np.unique(ends // STEP_US, return_index=True, return_counts=True)
    if not len(steps):
        return 0.0
    took_us = np.maximum(ends[begins + counts - 1] - ends[begins], READ_TOGETHER_US)
    rates = np.where(counts < ENOUGH_ANSWERS, counts / STEP_US, (counts - 1) / took_us)
    return float(np.quantile(rates, 0.75)) * 1e6


def idle_while_waited_s(connections: pa.Table, causes: pa.Table, samples: pa.Table | None) -> float:
    """Seconds in which the queue was empty while a connection that it had dropped waited to be sent again.

    Where it was not sampled it may have held something; without samples the rows say what it held.
    """
    before = ("syn_wait_us", "ghost_wait_us")
    dropped = pc.is_in(causes["cause"], pa.array(AT_THE_LISTENER))
    waited = _between(connections.filter(dropped), causes.filter(dropped), (), before)
    held = _between(connections, causes, before, ("queue_wait_us",)) if samples is None else _held(samples)
    return _alone_us(waited, held) / 1e6


def _between(connections: pa.Table, causes: pa.Table, before: Phases, phases: Phases) -> Stretches:
    """Begins and ends of these phases together, one after the other, after those before; of those that were issued."""
    lived = pc.is_valid(causes["queue_wait_us"])
    took = {name: causes[name].filter(lived).to_numpy().astype(np.int64) for name in before + phases}
    issued = connections["issued_us"].filter(lived).to_numpy().astype(np.int64)
    begins = sum((took[name] for name in before), issued)
    return begins, sum((took[name] for name in phases), begins)


def _held(samples: pa.Table) -> Stretches:
    """Stretches between samples that did not both show the queue empty, and all before and after them."""
    name = "accept_queues" if "accept_queues" in samples.column_names else "accept_queue"
    times = samples["time_us"].to_numpy().astype(np.int64)
    empty = samples[name].to_numpy(zero_copy_only=False).astype(np.float64) == 0
    far = np.iinfo(np.int64)
    edges = np.concatenate([[far.min], times, [far.max]])
    held = ~np.concatenate([[False], empty[:-1] & empty[1:], [False]]) if len(times) else np.array([True])
    return edges[:-1][held], edges[1:][held]


def _alone_us(these: Stretches, others: Stretches) -> int:
    """How long there was one of these stretches and none of the others."""
    moments = np.concatenate([*these, *others])
    order = np.argsort(moments, kind="stable")
    here, there = np.zeros((2, len(moments)), np.int64)
    count = len(these[0])
    here[:count], here[count : 2 * count] = 1, -1
    there[2 * count : 2 * count + len(others[0])], there[2 * count + len(others[0]) :] = 1, -1
    alone = (np.cumsum(here[order])[:-1] > 0) & (np.cumsum(there[order])[:-1] == 0)
    return int(np.diff(moments[order])[alone].sum())
