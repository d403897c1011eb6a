"""Fewer connections against a connection for each request: each way of a stack against the plain storm there.

Compared are storms of one *ground*: of one plan, or of plans that one host ran in the same way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from analysis.mitigations.policies import HTTP2, PLAIN, POOL, waited_out
from harness.thought.comparing import difference, gain, limited, ratio, reduces
from harness.thought.inference import Difference, Effect

TOLD: Mapping[str, int] = {POOL: 100, HTTP2: 10}
"""Of how many connections the numbers are told: fixed, so that no best one is picked from the data."""
TIMES = ("wanted_p50_ms", "wanted_p99_ms")
RATIOS = (*TIMES, "cpu_us_per_answer", "peak_rss_bytes")
MOSTLY = 0.5
"""Share of a quantile from which on it says more of the wait to be issued than of the server."""
Bound = Literal["equal", "at most", "at least", "unknown"]
"""What a ratio of times is to the one of a generator that costs no time."""
_LEFT_OPEN: Mapping[Bound, bool] = {"at most": False, "at least": True}
"""Whether it is shorter: the answer that such a ratio does not give."""


@dataclass(frozen=True)
class Way:
    """One way of connecting on one stack, against the plain storm there; None where there are too few storms."""

    server: str
    over: str
    pool: int
    storms: pd.DataFrame
    plain: pd.DataFrame
    answered: Difference | None
    ratios: Mapping[str, Effect | None]
    """By measure (:data:`RATIOS`)."""
    paced: bool
    """Whether the generator was the limit with fewer connections: CPU time is then the server's at its pace."""
    bounds: Mapping[str, Bound]
    """Of the times (:data:`TIMES`)."""

    @property
    def better_for_clients(self) -> bool | None:
        """More of them answered, or all as many and sooner; a bound decides only what it bounds."""
        time, bound = self.ratios["wanted_p99_ms"], self.bounds["wanted_p99_ms"]
        shorter = None if time is None or bound == "unknown" else reduces(time)
        shorter = None if shorter is _LEFT_OPEN.get(bound) else shorter
        more = None if self.answered is None else gain(self.answered)
        no_more = more is not None and (more.holds is False or more.open == "no room")
        return True if (more and more.holds) or shorter else False if no_more and shorter is False else None

    @property
    def better_for_the_server(self) -> bool | None:
        cpu = self.ratios["cpu_us_per_answer"]
        return None if cpu is None else reduces(cpu)


def comparisons(runs: pd.DataFrame) -> list[Way]:
    """Every way of connecting in ``runs``, of :func:`policies.over_connections`, in the order of its storms.

    A quantile among the unanswered counts as the timeout.
    """
    known = waited_out(runs).assign(many=runs["over"] == PLAIN)
    found = []
    for _, storms in known[~known["many"]].groupby(["server", "over", "pool"], sort=False):
        server, over, pool = (storms[name].iloc[0] for name in ("server", "over", "pool"))
        plain = known[known["many"] & (known["server"] == server)]
        both = pd.concat([plain, storms])
        found.append(
            Way(
                server=str(server),
                over=str(over),
                pool=int(pool),
                storms=storms,
                plain=plain,
                answered=difference(both, "success_rate", "many", False, True),
                ratios={measure: ratio(both, measure, "many", False, True) for measure in RATIOS},
                paced=limited(storms),
                bounds={measure: _bound(runs.loc[plain.index], storms, measure) for measure in TIMES},
            )
        )
    return found


def told(few: pd.DataFrame, swept: pd.DataFrame) -> pd.DataFrame:
    """The storms whose numbers are told: of a plan with as many clients each way, with its ``variant``.

    Where none of it could be had, those of the sweeps that have the plain storm, or as many connections as are told.
    """
    if len(few):
        return few
    sizes = swept["over"].map(TOLD)
    chosen = swept[(swept["over"] == PLAIN) | (swept["pool"] == sizes)]
    named = chosen["over"].where(chosen["over"] == PLAIN, chosen["over"] + " over " + chosen["pool"].astype(str))
    chosen = chosen.assign(variant=named)
    places = {PLAIN: 0, POOL: 1, HTTP2: 2}
    return chosen.sort_values("over", kind="stable", key=lambda over: over.map(places), ignore_index=True)


def waits_to_be_issued(plain: pd.DataFrame, measure: str) -> bool:
    """Whether a quantile of plain storms, from when wanted, is mostly the wait until a client had issued the request.

    So it is where counting from the issue leaves less than half of it (:data:`MOSTLY`), in the median of storms. One
    that lies among the unanswered is the server's.
    """
    left = (plain[measure.removeprefix("wanted_")] / plain[measure]).fillna(1.0)
    return bool(left.median() < 1 - MOSTLY)


def _bound(plain: pd.DataFrame, storms: pd.DataFrame, measure: str) -> Bound:
    """A generator at its limit makes times longer and never shorter; so does one that takes long to issue."""
    longer, later = limited(storms), waits_to_be_issued(plain, measure)
    if limited(plain) or (longer and later):
        return "unknown"
    return "at most" if longer else "at least" if later else "equal"
