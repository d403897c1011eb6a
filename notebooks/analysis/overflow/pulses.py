"""Pulses: bunches of answers with silences between them, found in the answers alone and then explained.

A silence is a pause that as many answers at random would not have made. Who ended it follows from the first answers
after it: what they had sent again just before, or the server, if they had been waiting for it all along. The kernel's
schedule comes last, and says whether what was sent again was due.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.events.kernel import FIRST_TIMEOUT_US, RESOLUTION_TICKS, RTO_MIN_US, TICK_US, TIMER_COARSENESS

Floats = NDArray[np.float64]
FIRST_TIMEOUT_S, RTO_MIN_S = FIRST_TIMEOUT_US / 1e6, RTO_MIN_US / 1e6
EARLY_S = RESOLUTION_TICKS * TICK_US / 1e6
"""By how much a date may lie before what it dates."""
ANSWER_S = 0.05
"""What a retransmission may take to be answered while the machine handles a burst of them."""

BY_CHANCE = 0.05
"""How often answers at random, at a steady rate, would show a silence, however many they are."""
FIRST_ANSWERS = 10
"""Of a bunch, by which it is told what began it; a tenth of the bunch, where that is fewer."""
SILENT = 0.1
"""Share of a storm, from its first answer to its last; a server that is silent for less does not pulse."""
FIRST, SYN, REQUEST, SERVER = "sent once", "SYN sent again", "request sent again", "the server"
BEGUN_BY = (FIRST, SYN, REQUEST, SERVER)
"""Clients that had sent nothing again; a wave of SYNs; a wave of requests, of ghosts; the server, by itself."""
SENT_AGAIN = (SYN, REQUEST)


@dataclass(frozen=True, slots=True)
class Window:
    """When what was sent again for the ``number``-th time is established, seconds after the first time."""

    number: int
    due_s: float
    latest_s: float

    @property
    def earliest_s(self) -> float:
        return self.due_s - EARLY_S


@dataclass(frozen=True, slots=True)
class Bunch:
    """Answers between two silences, and what began them; seconds from the first connect() of the storm.

    What its first answers had sent at last began a bunch, if that was in the second half of the silence before it. If
    they were waiting before that, it is the server that was silent.
    """

    begin_s: float
    end_s: float
    answers: int
    silence_s: float
    """Before it; NaN of the first."""
    begun_by: str
    """Of :data:`BEGUN_BY`."""
    number: int
    """How often its first answers had sent that again."""
    sent_s: float
    """When they got through."""
    due_s: float
    """When that was due by the kernel's schedule; NaN of what was not sent again."""
    on_time: bool | None
    """Whether it was sent as that schedule has it, give or take what a timer may be late."""


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
        Window(number, float(moment), float(moment * (1 + TIMER_COARSENESS) + ANSWER_S))
        for number, moment in enumerate(due, 1)
        if moment < timeout_s
    ]


def bunches(answers: Floats) -> list[tuple[int, int]]:
    """(first, last) of each bunch among answers in order of time; all of them are one where there is no silence.

    Of n pauses of random length, exponential with mean m, the longest is above m (ln n - ln(-ln(1 - p))) with
    probability p (Gumbel), which is :data:`BY_CHANCE`. Nothing is known of what the pauses should be.
    """
    if not len(answers):
        return []
    pauses = np.diff(answers)
    least = pauses.mean() * (np.log(len(pauses)) - np.log(-np.log1p(-BY_CHANCE))) if len(pauses) else np.inf
    last = np.flatnonzero(pauses > least)
    return list(zip([0, *(last + 1).tolist()], [*last.tolist(), len(answers) - 1], strict=True))


def explained(lives: pd.DataFrame, sysctls: Mapping[str, str]) -> pd.DataFrame:
    """The bunches of one storm, a row each in order of time, with the fields of :class:`Bunch` as columns.

    ``lives`` are the rows of its connections, one request each; ``sysctls`` the settings of its kernel.
    """
    taken = lives[lives["outcome"] == "answered"].sort_values("closed_us", ignore_index=True)
    answers_s = (taken["closed_us"].to_numpy(np.float64) - float(lives["issued_us"].min())) / 1e6
    sent, windows = _sent_at_last(taken, float(lives["issued_us"].min())), _windows_by_way(taken, sysctls)
    found, before_s = [], np.nan
    for first, last in bunches(answers_s):
        leading = sent.iloc[first : first + max(1, min(FIRST_ANSWERS, (last + 1 - first) // 10))]
        way = str(leading["way"].mode().iloc[0])
        number, since_s, sent_s = leading.loc[leading["way"] == way, ["number", "since_s", "sent_s"]].median()
        silence_s = float(answers_s[first]) - before_s
        if answers_s[first] - sent_s > silence_s / 2:
            way = SERVER
        window = windows.get((way, int(number)))
        due_s = since_s + window.due_s if window else np.nan
        on_time = bool(window.earliest_s <= sent_s - since_s <= window.latest_s) if window else None
        span = (float(answers_s[first]), float(answers_s[last]), last + 1 - first)
        found.append(Bunch(*span, silence_s, way, int(number) * (way in SENT_AGAIN), sent_s, due_s, on_time))
        before_s = float(answers_s[last])
    return pd.DataFrame(map(asdict, found), columns=[field.name for field in fields(Bunch)])


def _sent_at_last(taken: pd.DataFrame, start_us: float) -> pd.DataFrame:
    """Of each connection what it sent when it got through, how often it had sent that again, since when, and when."""
    syns = taken["syn_retransmits"].to_numpy(np.int64)
    requests = taken["total_retransmits"].to_numpy(np.int64) - syns
    connected_us = taken["synack_us"].fillna(taken["established_us"])
    return pd.DataFrame(
        {
            "way": np.where(requests > 0, REQUEST, np.where(syns > 0, SYN, FIRST)),
            "number": np.where(requests > 0, requests, syns),
            "since_s": (np.where(requests > 0, taken["established_us"], taken["issued_us"]) - start_us) / 1e6,
            "sent_s": (np.where(requests > 0, taken["resent_us"].fillna(connected_us), connected_us) - start_us) / 1e6,
        }
    )


def _windows_by_way(taken: pd.DataFrame, sysctls: Mapping[str, str]) -> dict[tuple[str, int], Window]:
    again = int(taken["total_retransmits"].max()) if len(taken) else 0
    ways = {SYN: syn_schedule(sysctls, np.inf), REQUEST: request_schedule(again)}
    return {(way, window.number): window for way, windows in ways.items() for window in windows}


def measures(found: pd.DataFrame) -> dict[str, float]:
    """What the bunches of one storm come to, NaN where there is nothing to take it of.

    Shares of the time from the first answer to the last: ``silent``, and of it ``silent_for_syns`` and
    ``silent_for_requests``, which ended with a wave of them, ``silent_for_clients``, both, and ``silent_server``, which
    the server ended. Bunches: ``bunches`` in all, ``syn_waves``, ``request_waves`` and ``own_starts`` by what began
    them; ``on_time``, the share of the waves that were due then; ``second_syns_s``, when the second wave of SYNs began
    one; ``period_s``, median from one start of the server's to the next.
    """
    silence_s, by, begin_s = found["silence_s"].fillna(0), found["begun_by"], found["begin_s"]
    whole_s = float(found["end_s"].max() - begin_s.min()) if len(found) > 1 else np.inf
    own_s, waves = begin_s[by == SERVER], by.isin(SENT_AGAIN)
    return {
        "bunches": float(len(found)),
        "silent": float(silence_s.sum()) / whole_s,
        "silent_for_syns": float(silence_s[by == SYN].sum()) / whole_s,
        "silent_for_requests": float(silence_s[by == REQUEST].sum()) / whole_s,
        "silent_for_clients": float(silence_s[waves].sum()) / whole_s,
        "silent_server": float(silence_s[by == SERVER].sum()) / whole_s,
        "syn_waves": float((by == SYN).sum()),
        "request_waves": float((by == REQUEST).sum()),
        "own_starts": float(len(own_s)),
        "on_time": float(found.loc[waves, "on_time"].astype(float).mean()),
        "second_syns_s": float(begin_s[(by == SYN) & (found["number"] == 2)].min()),
        "period_s": float(own_s.diff().median()),
    }
