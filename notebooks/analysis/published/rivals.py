"""Servers that were tried in the same way, held against each other: Hyper beside Go and Node.js, as published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.published.bands import Band, within
from analysis.published.blame import fewer
from analysis.published.conditions import WHOLE
from analysis.published.demand import driven
from harness.page.notebook import percent
from harness.thought.inference import mean_share

RIVALS: Mapping[str, str] = {"go": "Go", "node": "Node.js"}
"""Those that answered everything in the article, and how they are called in prose."""
OF_HYPER = "hyper"
"""So begin the names of the servers that are held against them."""
ALIKE = ["group", "condition", "driven by"]
"""Conditions with the same of these differ in the server alone."""


@dataclass(frozen=True, slots=True)
class Rival:
    """What one of them answers under a condition."""

    name: str
    answered: float
    """Share of all requests, mean of the runs."""
    whole: bool | None
    """Whether that is as good as everything; None where what is lacking may be packets that this host lost."""
    short_runs: int
    """Runs that fell short of that."""
    lost_runs: int
    """Those of them in which this host's own input queue dropped packets."""

    def __str__(self) -> str:
        said = f"{self.name} {percent(self.answered)}"
        if self.whole is None:
            said += f" (undecided: this host lost packets in {self.lost_runs} of the {self.short_runs} that fell short)"
        return said + (" (short)" if self.whole is False else "")


def rival(name: str, shares: Sequence[float], dropped: Sequence[float | None]) -> Rival:
    """Decided run by run: one that fell short and lost packets may have fallen short by them.

    Undecided is a server that would answer everything if those runs had. ``dropped`` counts packets; where they were
    not counted (null), none is excused.
    """
    short = [share < WHOLE for share in shares]
    lost = [fell and bool(packets and packets > 0) for fell, packets in zip(short, dropped, strict=True)]
    blameless = [1.0 if excused else share for share, excused in zip(shares, lost, strict=True)]
    answered = float(np.mean(shares))
    whole = True if answered >= WHOLE else None if np.mean(blameless) >= WHOLE else False
    return Rival(name, answered, whole, sum(short), sum(lost))


def as_demanded(conditions: pd.DataFrame) -> pd.Series:
    """Of each condition, whether every run drove the requests that were wanted."""
    pairs = zip(conditions["requests"], conditions["wanted"], strict=True)
    return pd.Series([driven(sent, wanted) for sent, wanted in pairs], conditions.index, dtype=bool)


def beside_rivals(conditions: pd.DataFrame) -> pd.DataFrame:
    """Hyper's conditions that were tried with all of :data:`RIVALS` in the same way, as it was demanded.

    With columns ``rivals`` (a list of :class:`Rival`) and ``whole``: whether all of these answered everything, None
    where one may have and the others did.
    """
    kept = []
    for _, same in conditions[as_demanded(conditions)].groupby(ALIKE, sort=False):
        known = {row["server"]: row for row in same.to_dict("records")}
        if not set(RIVALS) <= set(known):
            continue
        mine = same[same["server"].str.startswith(OF_HYPER)]
        found = [rival(name, known[server]["shares"], known[server]["dropped"]) for server, name in RIVALS.items()]
        words = [rival.whole for rival in found]
        whole = False if False in words else None if None in words else True
        each = {"rivals": found, "whole": whole}
        kept.append(
            mine.assign(**{name: pd.Series([value] * len(mine), mine.index, object) for name, value in each.items()})
        )
    return pd.concat(kept) if kept else conditions.iloc[:0].assign(rivals=[], whole=[])


def as_published(beside: pd.DataFrame, band: Band) -> pd.DataFrame:
    """Of :func:`beside_rivals` those in which Hyper lies in the band while the others answer everything."""
    near = within(beside, band)
    return near[[whole is True for whole in near["whole"]]]


def against(conditions: pd.DataFrame, one: Sequence[str], other: str) -> pd.DataFrame:
    """Where both were tried in the same way, as it was demanded: what was answered, and the medians of latency.

    ``fewer`` says whether the one answered fewer, null where it did and that may be chance or this host's doing.
    """
    rows = []
    for (group, condition, driver), same in conditions[as_demanded(conditions)].groupby(ALIKE, sort=False):
        rivals = same[same["server"] == other]
        for _, mine in same[same["server"].isin(one)].iterrows():
            shares, excused = mean_share(mine["shares"]), mean_share(mine["blameless"])
            for _, theirs in rivals.iterrows():
                rows.append(
                    {
                        "what": f"{group}: {condition}",
                        "driven by": driver,
                        "server": mine["server"],
                        "answered": shares.value,
                        f"{other} answered": float(np.mean(theirs["shares"])),
                        "fewer": fewer(shares, excused, mean_share(theirs["shares"])),
                        "p50_ms": float(np.median(mine["p50_ms"])),
                        f"{other} p50_ms": float(np.median(theirs["p50_ms"])),
                        "ended": mine["ended"] > 0,
                    }
                )
    return pd.DataFrame(rows)
