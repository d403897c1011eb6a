"""Pulses: do connections come in step with their clients' SYN retransmissions, more than chance would have it?

"The latency modulo one second" finds nothing, because a healthy server has a phase near zero always. What tells is
whether those that sent their SYN k times again were established in the k-th window of the kernel's own schedule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.events.kernel import FIRST_TIMEOUT_US, RESOLUTION_TICKS, RTO_MIN_US, TICK_US, TIMER_COARSENESS
from harness.thought.inference import RESAMPLES, SEED

Floats = NDArray[np.float64]
FIRST_TIMEOUT_S, RTO_MIN_S = FIRST_TIMEOUT_US / 1e6, RTO_MIN_US / 1e6
EARLY_S = RESOLUTION_TICKS * TICK_US / 1e6
"""By how much a date may lie before what it dates."""
ANSWER_S = 0.05
"""What a retransmission may take to be answered while the machine handles a burst of them."""


@dataclass(frozen=True, slots=True)
class Window:
    """When what was sent again for the ``number``-th time is established, seconds after the first time."""

    number: int
    earliest_s: float
    latest_s: float


def syn_schedule(sysctls: Mapping[str, str], timeout_s: float) -> list[Window]:
    """The SYN retransmissions that fall within ``timeout_s``, from the settings of a run's kernel.

    ``tcp_syn_linear_timeouts`` of them keep to the first timeout before it doubles (Linux 6.5; nothing of that name
    before). Source: tcp_retransmit_timer, net/ipv4/tcp_timer.c.
    """
    linear = int(sysctls.get("net.ipv4.tcp_syn_linear_timeouts", 0))
    retries = int(sysctls.get("net.ipv4.tcp_syn_retries", 6)) + linear
    waits = [FIRST_TIMEOUT_S * 2 ** max(0, number - linear) for number in range(retries)]
    return _windows(waits, timeout_s)


def request_schedule(times: int) -> list[Window]:
    """The first retransmissions of a request over loopback, whose round trip is as good as nothing.

    First a loss probe after the shortest timeout there is (tcp_schedule_loss_probe, net/ipv4/tcp_output.c), then that
    timeout itself, which doubles.
    """
    return _windows([RTO_MIN_S * 2 ** max(0, number - 1) for number in range(times)], np.inf)


def _windows(waits: Sequence[float], timeout_s: float) -> list[Window]:
    due = np.cumsum(waits)
    return [
        Window(number, float(moment - EARLY_S), float(moment * (1 + TIMER_COARSENESS) + ANSWER_S))
        for number, moment in enumerate(due, 1)
        if moment < timeout_s
    ]


@dataclass(frozen=True)
class Pulses:
    """What several storms of one kind say of their pulses."""

    share: float
    """Of each storm, what keeps to a rhythm from outside, such as its kernel's schedule: mean."""
    by_chance: float
    """The same share when the storm is shifted against the schedule, in the mean over all shifts."""
    p: float
    """One-sided: how often storms shifted at random come as near."""
    storms: int


def in_step(storm: pd.DataFrame, schedule: Sequence[Window], shift_s: float = 0.0) -> float:
    """Share of a storm's connections that were established in the window of their own number of retransmissions."""
    established = storm["established_us"].notna().to_numpy()
    waits_s = storm["syn_wait_us"].to_numpy(np.float64) / 1e6 + shift_s
    again = storm["syn_retransmits"].to_numpy(np.float64)
    matched = np.zeros(len(storm), bool)
    for window in schedule:
        matched |= (again == window.number) & (waits_s >= window.earliest_s) & (waits_s <= window.latest_s)
    return float((matched & established).mean())


def find_pulses(storms: Sequence[pd.DataFrame], schedule: Sequence[Window]) -> Pulses:
    """Test storms, each with its columns ``syn_wait_us`` and ``syn_retransmits``, against a schedule.

    Without a bond between the two, the waits of a storm would fit as well if all of them were longer or shorter by one
    and the same shift of up to half the first timeout. The storm is the unit: each is shifted by a draw of its own.
    """
    shifts = np.linspace(-0.5, 0.5, 201) * FIRST_TIMEOUT_S
    curves = np.stack([[in_step(storm, schedule, shift) for shift in shifts] for storm in storms])
    return against_shifts([in_step(storm, schedule) for storm in storms], curves)


def against_shifts(measured: Sequence[float], curves: Floats) -> Pulses:
    """What was ``measured`` of each storm against the same storms shifted; ``curves`` has shape (storms, shifts)."""
    storms, shifts = curves.shape
    drawn = np.random.default_rng(SEED).integers(0, shifts, (RESAMPLES, storms))
    by_chance = curves[np.arange(storms), drawn].mean(axis=1)
    found = float(np.mean(measured))
    p = (1 + int((by_chance >= found - 1e-12).sum())) / (1 + RESAMPLES)
    return Pulses(found, float(curves.mean()), p, storms)


def schedule_and_measured(
    waits: pd.DataFrame, schedule: Sequence[Window], wait: str = "syn_wait_us", again: str = "syn_retransmits"
) -> pd.DataFrame:
    """For each number of retransmissions: its window, how many connections had so many, and their waits, seconds."""
    established = waits.dropna(subset=["established_us"])
    rows = []
    for window in schedule:
        seconds = established.loc[established[again] == window.number, wait] / 1e6
        if seconds.empty:
            continue
        inside = seconds.between(window.earliest_s, window.latest_s)
        rows.append(
            {
                "sent again": window.number,
                "computed, s": f"{window.earliest_s + EARLY_S:.2f} to {window.latest_s:.2f}",
                "connections": len(seconds),
                "measured median, s": round(float(seconds.median()), 3),
                "within": f"{inside.mean():.1%}",
            }
        )
    return pd.DataFrame(rows)
