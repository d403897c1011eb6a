"""What the rows of a storm prove: every connection by what its client saw, why, and how far it had come by then.

Where a server ends, the rows say when: from the first refusal on nobody listens any more.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.attacks import LAB
from analysis.published.bands import Band, inside, mostly_inside, within
from harness.errors import PlanError
from harness.lab import open_lives
from harness.page.numbers import tenths
from harness.thought.cause import MEANINGS

AFTER, ACCEPTED, QUEUED = "issued when nobody listened", "accepted", "established, not accepted"
ESTABLISHED, NEVER = "established, not known if accepted", "not established"
"""How far a connection had come; the first that is true of it."""
_PROVES: Mapping[tuple[str, str], str] = {
    ("refused", AFTER): "the server had ended before this client called",
    ("refused", NEVER): "its SYN got no answer while the server lived; sent again, it met nobody",
    ("reset", ACCEPTED): "the server had it in hand as it ended, and did not answer",
    ("reset", QUEUED): "it was in the accept queue as the server ended",
    ("reset", ESTABLISHED): "it was in the accept queue, or in hand, as the server ended",
    ("reset", AFTER): "it was cut off as the server ended",
    ("connect_timeout", NEVER): "it was never in the accept queue; the cause says who dropped its SYNs",
    ("answer_timeout", ACCEPTED): "the server had it in hand, and did not answer in time",
    ("answer_timeout", QUEUED): "it was in the accept queue, and the server did not take it in time",
    ("answer_timeout", ESTABLISHED): "its client was connected, and the server did not answer in time",
}
"""Outcome and how far → what a row of that kind proves; of others the cause's own meaning is told."""


@dataclass(frozen=True, slots=True)
class Proved:
    """One storm by its rows."""

    what: str
    """The condition."""
    run_id: str
    inside: bool
    """Whether this storm lies in the band, whatever most storms of its condition do."""
    answered: float
    """Share of the planned requests."""
    planned: int
    kinds: pd.DataFrame
    """As :func:`kinds` has them."""

    def __str__(self) -> str:
        rows = int(self.kinds["rows"].sum())
        counted = "as many rows as planned" if rows == self.planned else f"{rows:,} rows of {self.planned:,} planned"
        return f"`{self.run_id}`, {self.short}, {counted}"

    @property
    def short(self) -> str:
        """What was answered, and whether that lies in the band."""
        return f"{self.answered:.1%} answered, {'inside' if self.inside else 'outside'}"


@dataclass(frozen=True)
class Proof:
    """What rows there are of conditions in a band."""

    storms: Sequence[Proved]
    """Those of one condition stand together, in the order in which they were recorded."""
    lacking: Sequence[str]
    """The lab's conditions in the band of which no rows are kept."""
    by_tools: Sequence[str]
    """Conditions in the band that another tool drove."""


def kinds(lives: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`harness.lab.open_lives` counted by ``outcome``, ``cause`` and ``how far``, with ``proves``.

    Each connection is in one row; the most frequent come first.
    """
    named = pd.DataFrame(
        {"outcome": lives["outcome"].astype(str), "cause": lives["cause"].astype(str), "how far": _how_far(lives)}
    )
    counted = named.value_counts(sort=True).rename("rows").reset_index()
    # Without a refusal the server lived, and whom it reset is told by the cause alone.
    ended = (counted["outcome"] == "refused").any()
    known = {key: text for key, text in _PROVES.items() if ended or key[0] != "reset"}
    rows = counted.to_dict("records")
    proves = [known.get((row["outcome"], row["how far"]), MEANINGS[row["cause"]]) for row in rows]
    share = (counted["rows"] / max(1, len(lives))).map(tenths)
    return counted.assign(share=share, proves=proves)


def proved(conditions: pd.DataFrame, band: Band, open_rows: Callable[[str], pd.DataFrame] = open_lives) -> Proof:
    """Every storm of which rows are kept, of the lab's conditions of which most or some storms lie in a band.

    Where there are rows of none of these, those of the condition that is nearest and has some stand in.
    """
    of_tools = within(conditions[conditions["driven by"] != LAB], band)
    mine = conditions[conditions["driven by"] == LAB]
    near, some = ([rule(shares, band) for shares in mine["shares"]] for rule in (mostly_inside, inside))
    means = [float(np.mean(shares)) for shares in mine["shares"]]
    away = [max(band[0] - mean, mean - band[1], 0.0) for mean in means]
    places = mine.assign(near=near, some=np.array(some) > 0, away=away)
    ordered = places.sort_values(["near", "some", "away"], ascending=[False, False, True], kind="stable")
    found: list[Proved] = []
    lacking: list[str] = []
    for row in ordered.to_dict("records"):
        if found and not row["some"]:
            break
        storms = _with_rows(row, band, open_rows)
        found += storms
        if row["near"] and not storms:
            lacking.append(_called(row))
    return Proof(found, lacking, list(map(_called, of_tools.to_dict("records"))))


def table(proof: Proof) -> pd.DataFrame:
    """All conditions, one below the other: a row for each kind of connection, a column for each storm."""
    named = ["storm", "outcome", "cause", "how far", "proves"]
    if not proof.storms:
        return pd.DataFrame(columns=named)
    grouped = _by_condition(proof)
    rows = pd.concat([_counted(one).assign(number=number) for _, same in grouped for number, one in same])
    wide = rows.pivot(index=named[:-1], columns="number", values="cell").fillna("")
    of_kind = rows.groupby(named[:-1], sort=False)
    # Of a server that ends, a reset proves another thing than of one that lives, and both may be of one condition.
    proves = of_kind["proves"].agg(lambda said: "; or ".join(dict.fromkeys(said)))
    place = [what for what, _ in grouped].index
    order = of_kind["rows"].sum().reset_index().sort_values("rows", ascending=False, kind="stable")
    kinds_in_order = order.sort_values("storm", key=lambda names: names.map(place), kind="stable")[named[:-1]]
    ordered = wide.loc[pd.MultiIndex.from_frame(kinds_in_order)].assign(proves=proves)
    numbered = {number: f"storm {number}" for number in wide.columns}
    return ordered.rename(columns=numbered).rename_axis(columns=None).reset_index()


def said(proof: Proof) -> str:
    """A paragraph for each condition, with its storms; and of which there are no rows."""
    lines = [
        f"- **{what}**: " + "; ".join(f"storm {number} {one}" for number, one in same) + "."
        for what, same in _by_condition(proof)
    ]
    if proof.lacking:
        lines.append(f'- No rows are kept of {"; ".join(proof.lacking)}: with `source = "here"` there are.')
    if proof.by_tools:
        lines.append(
            f"- Of {'; '.join(proof.by_tools)} there are no rows: another tool's attack has counts, by status, by the "
            "text of errors, and of SYNs and refusals by the kernel."
        )
    return "\n".join(lines)


def _counted(one: Proved) -> pd.DataFrame:
    """The storm's kinds with a ``cell`` each, below a line for all of them that says whether it lies in the band."""
    whole = {"outcome": "all", "cause": "", "how far": "", "proves": "", "rows": one.planned}
    lead = pd.DataFrame([whole | {"cell": one.short}])
    cells = one.kinds["rows"].map("{:,}".format) + " (" + one.kinds["share"] + ")"
    return pd.concat([lead, one.kinds.assign(cell=cells)]).assign(storm=one.what)


def _by_condition(proof: Proof) -> list[tuple[str, list[tuple[int, Proved]]]]:
    """(condition, its storms numbered from one) of each."""
    grouped = itertools.groupby(proof.storms, key=lambda one: one.what)
    return [(what, list(enumerate(same, 1))) for what, same in grouped]


def _how_far(lives: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    outcome, detail = lives["outcome"].astype(str), lives["detail"].astype(str)
    refused = outcome == "refused"
    after = lives["issued_us"].gt(lives.loc[refused, "closed_us"].min())
    established, known = lives["established_us"].notna(), lives["accept_evidence"].astype(str) != "none"
    # Of a reset the cause says whether it was accepted; of others the phases do: what never was has no service.
    reset, served = outcome == "reset", lives["service_us"].fillna(0) > 0
    # And whoever was answered was accepted, however fast: service that rounds to nothing is none that never was.
    answered = outcome == "answered"
    accepted = established & (answered | detail.eq("after accept") | (known & served & ~reset))
    queued = established & ~answered & (detail.eq("before accept") | (known & ~served & ~reset))
    stages = [(AFTER, after), (ACCEPTED, accepted), (QUEUED, queued), (ESTABLISHED, established)]
    return np.select([rows for _, rows in stages], [name for name, _ in stages], NEVER).astype(object)


def _with_rows(row: Mapping[Any, Any], band: Band, open_rows: Callable[[str], pd.DataFrame]) -> list[Proved]:
    """The storms of a condition of which rows are kept."""
    found = []
    for run_id, planned, share in sorted(zip(row["run_ids"], row["requests"], row["shares"], strict=True)):
        try:
            lives = open_rows(run_id)
        except PlanError:
            continue
        answered = float((lives["outcome"].astype(str) == "answered").mean())
        found.append(Proved(_called(row), run_id, inside([share], band) == 1, answered, planned, kinds(lives)))
    return found


def _called(row: Mapping[Any, Any]) -> str:
    return f"{row['group']}, {row['condition']}: {row['server']}"
