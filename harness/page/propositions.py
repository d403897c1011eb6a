"""Propositions as they are read: a table in a notebook, which a grid of notebooks reads back, and JSON."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from harness.page.numbers import with_spread
from harness.page.tables import NO_VALUE
from harness.thought.proposition import Proposition, said

MIME = "application/vnd.stormlab.propositions+json"
"""What an executed notebook keeps them as, beside the table."""


class Propositions:
    """The last expression of a cell: shows a row for each."""

    def __init__(self, propositions: Iterable[Proposition]) -> None:
        self.every = tuple(propositions)

    def __iter__(self) -> Iterator[Proposition]:
        return iter(self.every)

    def frame(self) -> pd.DataFrame:
        """Columns ``proposition``, ``holds``, ``measured`` and ``runs``, how many there are; by id."""
        rows = [
            {
                "": one.id,
                "proposition": one.statement if one.role == "detail" else f"{one.statement} ({one.role})",
                "holds": said(one.holds) + (f": {one.why_null}" if one.why_null else ""),
                "measured": number(one),
                "runs": len(one.runs),
            }
            for one in self.every
        ]
        return pd.DataFrame(rows, columns=["", "proposition", "holds", "measured", "runs"]).set_index("")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        with pd.option_context("display.max_colwidth", None):
            table = self.frame()
            texts = {"text/html": table.to_html(), "text/plain": repr(table)}
        return texts | {MIME: [document(one) for one in self.every]}


def number(one: Proposition) -> str:
    """Its value and how far it goes; a dash of what was not measured."""
    return NO_VALUE if math.isnan(one.found.value) else with_spread(one.found, one.unit)


def document(one: Proposition) -> dict[str, Any]:
    """As in ``verdicts --json``.

    Null is what has no value, an end that lies beyond everything, and the interval of runs that did not differ.
    """
    found = one.found
    known = math.isfinite(found.value)
    spread = known and found.kind != "none" and all(map(math.isfinite, found.ends))
    return {
        "id": one.id,
        "statement": one.statement,
        "role": one.role,
        "holds": one.holds,
        "why_null": one.why_null or None,
        "value": float(found.value) if known else None,
        "unit": one.unit,
        "interval": [float(found.low), float(found.high)] if spread else None,
        "interval_kind": found.kind if spread else None,
        "runs": list(one.runs),
        "figure": one.figure,
    }
