"""Was the generator the limit? Judged from what its agents measured of themselves in the same run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.thought.stats import Latencies, weighted_quantile

BUSY_SHARE = 0.95
"""An agent that waited for the server less than a twentieth of its time offered all it could."""
LAG_SHARE = 0.5
"""Lag that makes up half of a latency says more of the generator than of the server."""


@dataclass(frozen=True, slots=True)
class Generator:
    """The generator of one run; lags are upper bounds, weighted by the events that may have had them."""

    agents: int
    cpu_user_s: float
    cpu_system_s: float
    late_ms: Mapping[str, float | None]
    verdict: str
    because: str


def judge(reports: Sequence[Mapping[str, Any]], expected_agents: int, latencies: Latencies) -> Generator:
    """Sum up the agents' reports; ``unknown`` where one is missing or nothing was answered to compare with."""
    lags: Counter[int] = Counter()
    for report in reports:
        lags.update(dict(report["late_us"]))
    histogram = [(lag_us / 1000, count) for lag_us, count in sorted(lags.items())]
    late_ms = {
        "p50": weighted_quantile(histogram, 0.5),
        "p99": weighted_quantile(histogram, 0.99),
        "max": histogram[-1][0] if histogram else None,
    }
    verdict, because = _verdict(reports, expected_agents, late_ms, latencies)
    return Generator(
        agents=expected_agents,
        cpu_user_s=round(sum(report["cpu_user_s"] for report in reports), 4),
        cpu_system_s=round(sum(report["cpu_system_s"] for report in reports), 4),
        late_ms=late_ms,
        verdict=verdict,
        because=because,
    )


def _verdict(
    reports: Sequence[Mapping[str, Any]], expected: int, late_ms: Mapping[str, float | None], latencies: Latencies
) -> tuple[str, str]:
    if len(reports) < expected or not len(latencies.answered_ms):
        return (
            "unknown",
            f"{len(reports)} of {expected} agents reported, {len(latencies.answered_ms)} answers to compare with",
        )
    busy = max(1 - report["waited_s"] / report["ran_s"] for report in reports)
    if busy > BUSY_SHARE:
        return "limiting", f"an agent was busy {busy:.0%} of its time"
    answered = latencies.answered_only()
    for name, q in (("p50", 0.5), ("p99", 0.99)):
        late, latency = late_ms[name], answered.quantile(q)
        if late is not None and latency is not None and late > LAG_SHARE * latency:
            return "limiting", f"the {name} of its lag is {late:.3g} ms, that of the answers' latency {latency:.3g} ms"
    return "ok", f"the busiest agent was busy {busy:.0%} of its time"
