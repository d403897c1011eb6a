"""Was the generator the limit? Judged from what its agents measured of themselves in the same run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.thought.stats import Latencies, weighted_quantile

BUSY_SHARE = 0.95
"""Who waited less than a twentieth of the time offered all he could: an agent, or the server with its CPUs."""
STOOD_STILL_MS = 100
"""Later than this is no pace of work: whoever is has stood still."""
STOOD_STILL = "an agent stood still"
LAG_SHARE = 0.5
"""Lag that makes up half of a latency says more of the generator than of the server, where one waits for the other. A
load that has a pace of its own is as it was planned all the same."""


@dataclass(frozen=True, slots=True)
class Generator:
    """The generator of one run; lags are upper bounds, weighted by the events that may have had them."""

    agents: int
    cpu_user_s: float
    cpu_system_s: float
    late_ms: Mapping[str, float | None]
    verdict: str
    because: str

    @property
    def stood_still(self) -> bool:
        """Whether that is because an agent did nothing while it had something to do."""
        return self.because.startswith(STOOD_STILL)


def judge(
    reports: Sequence[Mapping[str, Any]],
    expected_agents: int,
    latencies: Latencies,
    server_busy: float | None = None,
    *,
    slots_late_ms: float | None = None,
    still_ms: float = 0.0,
) -> Generator:
    """Sum up the agents' reports; ``unknown`` where one is missing or nothing was answered to compare with.

    ``server_busy`` is the share of its CPUs that the server used: where that is all, no generator limits it. Of a load
    whose requests are due at a rate ``slots_late_ms`` is how long after its slot all but a hundredth was issued; of any
    other ``still_ms`` is how long an agent did nothing while it had something to do (:mod:`thought.agents_still`).
    """
    lags: Counter[int] = Counter()
    for report in reports:
        lags.update(dict(report["late_us"]))
    histogram = [(lag_us / 1000, count) for lag_us, count in sorted(lags.items())]
    late_ms = {
        "p50": weighted_quantile(histogram, 0.5),
        "p99": weighted_quantile(histogram, 0.99),
        "max": histogram[-1][0] if histogram else None,
    }
    verdict, because = _verdict(reports, expected_agents, late_ms, latencies, server_busy, slots_late_ms, still_ms)
    return Generator(
        agents=expected_agents,
        cpu_user_s=round(sum(report["cpu_user_s"] for report in reports), 4),
        cpu_system_s=round(sum(report["cpu_system_s"] for report in reports), 4),
        late_ms=late_ms,
        verdict=verdict,
        because=because,
    )


def _verdict(
    reports: Sequence[Mapping[str, Any]],
    expected: int,
    late_ms: Mapping[str, float | None],
    latencies: Latencies,
    server_busy: float | None,
    slots_late_ms: float | None,
    still_ms: float,
) -> tuple[str, str]:
    if len(reports) < expected or not len(latencies.answered_ms):
        return (
            "unknown",
            f"{len(reports)} of {expected} agents reported, {len(latencies.answered_ms)} answers to compare with",
        )
    answered = latencies.answered_only()
    late, typical = late_ms["p99"], answered.quantile(0.5)
    if late is not None and typical is not None and late > max(STOOD_STILL_MS, LAG_SHARE * typical):
        return (
            _of_one_that_stood_still(server_busy),
            f"{STOOD_STILL}: the p99 of the lag is {late:.3g} ms, the answers' p50 {typical:.3g} ms",
        )
    if slots_late_ms is not None and slots_late_ms > STOOD_STILL_MS:
        told = f"{STOOD_STILL}: it issued up to {slots_late_ms:.3g} ms after what was due (p99)"
        return _of_one_that_stood_still(server_busy), told
    if still_ms > STOOD_STILL_MS:
        told = f"{STOOD_STILL} for {still_ms:.3g} ms, while connections waited for it"
        return _of_one_that_stood_still(server_busy), told
    busy = max(1 - report["waited_s"] / report["ran_s"] for report in reports)
    told = f"the busiest agent was busy {busy:.0%} of its time"
    if busy <= BUSY_SHARE:
        for name, q in (("p50", 0.5), ("p99", 0.99)):
            late, latency = late_ms[name], answered.quantile(q)
            if slots_late_ms is not None or late is None or latency is None or late <= LAG_SHARE * latency:
                continue
            told = f"the {name} of its lag is {late:.3g} ms, that of the answers' latency {latency:.3g} ms"
            return ("limiting", told) if (server_busy or 0) < BUSY_SHARE else ("ok", f"{told}; the server was busy")
        return "ok", told
    if server_busy is None:
        return "unknown", f"{told}; what the server used is not known"
    told += f", the server's CPUs {server_busy:.0%}"
    return ("ok" if server_busy >= BUSY_SHARE else "limiting"), told


def _of_one_that_stood_still(server_busy: float | None) -> str:
    """A server without time to spare was not limited by that; what the agent measured is nevertheless its own lag."""
    return "unknown" if server_busy is not None and server_busy >= BUSY_SHARE else "limiting"


_BEFORE_BUSY = re.compile(r"limiting: an agent was busy (\d+)% of its time")
_BEFORE_LAG = re.compile(r"limiting: the (p50|p99) of its lag is (\S+) ms, that of the answers' latency (\S+) ms")


def judged_anew(
    verdict: str, told: str, server_busy: float | None, p99_ms: float | None, *, paced: bool = False
) -> str:
    """The verdict on a run that was judged by earlier rules, from what was told of it then: ``told``.

    Those called an agent limiting whose lag was half of a latency, also at a pace of its own, and one that was busy
    although the server was too. Of a lag told at its median nobody knows the p99 any more, but it was within the
    latencies'.
    """
    if _BEFORE_BUSY.match(told):
        if server_busy is None:
            return "unknown"
        return "ok" if server_busy >= BUSY_SHARE else "limiting"
    if (found := _BEFORE_LAG.match(told)) is None:
        return verdict
    if not paced:
        return "ok" if (server_busy or 0) >= BUSY_SHARE else "limiting"
    quantile, lag_ms = found[1], float(found[2])
    if quantile == "p50" and (p99_ms is None or p99_ms > STOOD_STILL_MS):
        return "unknown"
    return _of_one_that_stood_still(server_busy) if lag_ms > STOOD_STILL_MS else "ok"
