"""What the rows of a storm prove: every connection by what its client saw, why, and how far it had come by then.

Where a server ends, the rows say when: from the first refusal on nobody listens any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.cause import MEANINGS
from harness.errors import PlanError
from harness.foreign.record import LAB
from harness.record import open_lives
from harness.report.bands import Band, mostly_inside

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
    run_id: str
    answered: float
    """Share of the planned requests."""
    planned: int
    kinds: pd.DataFrame
    """As :func:`kinds` has them."""

    def __str__(self) -> str:
        rows = int(self.kinds["rows"].sum())
        total = f"{rows:,} rows, " + ("as many as" if rows == self.planned else f"where {self.planned:,}")
        failed = self.kinds[self.kinds["outcome"] != "answered"]
        said = "; ".join(f"{row['rows']:,} {row['outcome']}: {row['proves']}" for row in failed.to_dict("records"))
        lead = f"**{self.what}**, `{self.run_id}`, {self.answered:.1%} answered"
        return f"{lead}. {total} were planned: {said or 'none failed'}."


def kinds(lives: pd.DataFrame) -> pd.DataFrame:
    """The rows of :func:`harness.record.open_lives` counted by ``outcome``, ``cause`` and ``how far``, with ``proves``.

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
    share = (counted["rows"] / max(1, len(lives))).map("{:.1%}".format)
    return counted.assign(share=share, proves=proves)


def proved(
    conditions: pd.DataFrame, band: Band, open_rows: Callable[[str], pd.DataFrame] = open_lives
) -> tuple[list[Proved], list[str]]:
    """The lab's conditions in a band by the rows of a storm each, and the names of those of which no rows are kept.

    Of several storms with rows the one nearest to the band is taken. Where there are rows of none of these, the nearest
    that has some stands in.
    """
    mine = conditions[conditions["driven by"] == LAB]
    near = [mostly_inside(shares, band) for shares in mine["shares"]]
    away = [_away(float(np.mean(shares)), band) for shares in mine["shares"]]
    ordered = mine.assign(near=near, away=away).sort_values("away", kind="stable").to_dict("records")
    found: list[Proved] = []
    lacking: list[str] = []
    for row in sorted(ordered, key=lambda row: not row["near"]):
        if not row["near"] and found:
            break
        what = f"{row['group']}, {row['condition']}: {row['server']}"
        storms = sorted(
            zip(row["run_ids"], row["requests"], row["shares"], strict=True), key=lambda storm: _away(storm[2], band)
        )
        one = _first_with_rows(what, storms, open_rows)
        if one is not None:
            found.append(one)
        elif row["near"]:
            lacking.append(what)
    return found, lacking


def table(found: Sequence[Proved]) -> pd.DataFrame:
    """All of them, one below the other."""
    if not found:
        return pd.DataFrame(columns=["outcome", "cause", "how far", "rows", "share", "proves"])
    return pd.concat({one.what: one.kinds for one in found}, names=["storm"]).droplevel(1).reset_index()


def said(found: Sequence[Proved], lacking: Sequence[str]) -> str:
    """A paragraph for each storm; and of which there are no rows."""
    lines = [f"- {one}" for one in found]
    if lacking:
        lines.append(f'- No rows are kept of {"; ".join(lacking)}: with `source = "here"` there are.')
    return "\n".join(lines)


def _how_far(lives: pd.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.object_]]:
    outcome, detail = lives["outcome"].astype(str), lives["detail"].astype(str)
    refused = outcome == "refused"
    after = lives["issued_us"].gt(lives.loc[refused, "closed_us"].min())
    established, known = lives["established_us"].notna(), lives["accept_evidence"].astype(str) != "none"
    # Of a reset the cause says whether it was accepted; of others the phases do: what never was has no service.
    reset, served = outcome == "reset", lives["service_us"].fillna(0) > 0
    accepted = established & (detail.eq("after accept") | (known & served & ~reset))
    queued = established & (detail.eq("before accept") | (known & ~served & ~reset))
    stages = [(AFTER, after), (ACCEPTED, accepted), (QUEUED, queued), (ESTABLISHED, established)]
    return np.select([rows for _, rows in stages], [name for name, _ in stages], NEVER).astype(object)


def _away(share: float, band: Band) -> float:
    """How far outside the band; nothing for a share inside."""
    return max(band[0] - share, share - band[1], 0.0)


def _first_with_rows(
    what: str, storms: Iterable[tuple[str, int, float]], open_rows: Callable[[str], pd.DataFrame]
) -> Proved | None:
    for run_id, planned, _ in storms:
        try:
            lives = open_rows(run_id)
        except PlanError:
            continue
        answered = float((lives["outcome"].astype(str) == "answered").mean())
        return Proved(what, run_id, answered, planned, kinds(lives))
    return None
