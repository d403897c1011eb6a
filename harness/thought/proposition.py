"""A proposition: a statement with a margin, what runs measured of it, and whether it holds; by :mod:`deciding`."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from harness.thought.deciding import Decision, decide, fewest
from harness.thought.inference import Interval

Unit = Literal["share", "difference of shares", "ratio", "ms"]
Role = Literal["core", "cause", "detail"]
NOTHING = Interval(math.nan, math.nan, math.nan, 0, "none")


@dataclass(frozen=True, slots=True)
class Asked:
    """A proposition as it was written down: it holds if the whole interval is beyond its margin.

    With both margins it has to lie between them.
    """

    id: str
    statement: str
    unit: Unit
    role: Role = "detail"
    above: float | None = None
    below: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What the runs say of a proposition, before its margin is looked at."""

    found: Interval
    runs: tuple[str, ...] = ()
    """Ids of the runs behind it."""
    why_null: str = ""
    """Why these runs cannot decide it, whatever they say; empty where they can."""
    untouched: float | None = None
    """The share that a gain would be added to."""
    run_s: float = 0.0
    """How long each run took: of long ones fewer decide."""


@dataclass(frozen=True, slots=True)
class Proposition:
    """One that was decided: true, false, or null and why."""

    id: str
    statement: str
    role: Role
    holds: bool | None
    why_null: str
    unit: Unit
    found: Interval
    runs: tuple[str, ...]
    figure: str | None = None

    @property
    def name(self) -> str:
        """Without that of its claim or notebook."""
        return self.id.partition(".")[2]


def of_runs(
    found: Interval, runs: pd.DataFrame | Collection[pd.DataFrame], why_null: str = "", untouched: float | None = None
) -> Measured:
    """What was found in these runs, of one group or several."""
    every = runs if isinstance(runs, pd.DataFrame) else pd.concat(runs)
    seconds = float(every["wall_s"].mean()) if "wall_s" in every else 0.0
    return Measured(found, tuple(sorted(every["run_id"])), why_null, untouched, seconds)


def decided(asked: Asked, measured: Measured, figure: str | None = None) -> Proposition:
    """The proposition with what came of it."""
    decision = _decision(asked, measured)
    return Proposition(
        asked.id,
        asked.statement,
        asked.role,
        decision.holds,
        decision.why_null,
        asked.unit,
        measured.found,
        measured.runs,
        figure,
    )


def said(holds: bool | None) -> str:
    """``true``, ``false`` or ``not decided``."""
    return "not decided" if holds is None else str(holds).lower()


def _decision(asked: Asked, measured: Measured) -> Decision:
    found = measured.found
    if not measured.runs:
        return Decision(None, measured.why_null or "there are no such runs", found)
    if measured.why_null:
        return Decision(None, measured.why_null, found)
    needed, sides = fewest(measured.run_s), []
    if asked.above is not None:
        sides.append(decide(found, asked.above, untouched=measured.untouched, needed=needed))
    if asked.below is not None:
        sides.append(_below(found, asked.below, needed))
    return _both(sides)


def _below(found: Interval, margin: float, needed: int) -> Decision:
    """:func:`deciding.decide` on the other side."""
    mirrored = decide(replace(found, value=-found.value, low=-found.high, high=-found.low), -margin, needed=needed)
    why = mirrored.why_null
    if mirrored.open == "margin within":
        why = f"the margin {margin:g} lies within {found.low:.3g} to {found.high:.3g}"
    return replace(mirrored, found=found, why_null=why)


def _both(sides: Sequence[Decision]) -> Decision:
    """False where one is, true where all are."""
    return min(sides, key=lambda one: {False: 0, None: 1, True: 2}[one.holds])
