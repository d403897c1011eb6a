"""What a comparison in blocks says, in tables and words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.allocators.effects import AGAIN, UNTOUCHED, effects
from harness.page.interval import CALLED, worded
from harness.page.tables import NO_VALUE
from harness.thought.comparing import DECIDED, EFFECTS, MATTERS
from harness.thought.deciding import FEWEST_TO_DECIDE
from harness.thought.inference import CONFIDENCE, FEWEST_RUNS, Interval

MEASURES: dict[str, tuple[str, str]] = {
    "cpu_us_per_answer": ("CPU time per answer", "less"),
    "throughput_per_s": ("answers a second", "more"),
    "p99_ms": ("99th percentile of latency", "less"),
    "peak_rss_bytes": ("peak memory", "less"),
    "settled_rss_bytes": ("memory afterwards", "less"),
}
"""Column → (what it is called, and what of it is better)."""
LABELS = {measure: label for measure, (label, _) in MEASURES.items()}
_SIGNS = {"more": "▲", "less": "▼", "withheld": "(generator)", "unsteady": "(unsteady)", "nothing": ""}
_KIND = ["server", "load", "variant"]


def compare(runs: pd.DataFrame) -> pd.DataFrame:
    """:func:`effects.effects` of all measures."""
    return effects(runs, list(MEASURES))


def change(ratio: float) -> str:
    """``+10.0 %``; a factor from two on."""
    if math.isnan(ratio):
        return NO_VALUE
    return f"× {ratio:.2f}" if ratio >= 2 else f"{(ratio - 1) * 100:+.1f} %".replace("-", "−")


def interval(row: Mapping[Any, Any]) -> str:
    """``+10.0 % (95 % interval +8.1 % to +12.0 %)``."""
    return worded(Interval(row["ratio"], row["low"], row["high"], row["blocks"], row["kind"]), change)


def called(found: pd.DataFrame) -> str:
    """``95 % intervals``, what the ends of these comparisons are; of too few blocks ``ranges``, or both."""
    kinds = [f"{CALLED[kind]}s" for kind in dict.fromkeys(found["kind"]) if kind in CALLED]
    return " and ".join(kinds) or "no intervals"


def headline(found: pd.DataFrame, *measures: str) -> str:
    """``An effect of 5 % or more on CPU time per answer in 3 of 13 comparisons, on peak memory in 9 of 13``."""
    said = []
    for measure in measures:
        rows = found[(found["measure"] == measure) & found["core"].notna() & found["seen"].isin(DECIDED)]
        said.append(f"on {LABELS[measure]} in {int(rows['seen'].isin(EFFECTS).sum())} of {len(rows)}")
    return f"An effect of {MATTERS:.0%} or more " + f"{said[0]} comparisons" + "".join(f", {rest}" for rest in said[1:])


def table(found: pd.DataFrame) -> pd.DataFrame:
    """A row for each kind of storm and variant, a column for each measure; ▲ ▼ where an effect is seen."""
    said = [f"{interval(row)} {_SIGNS[row['seen']]}".strip() for row in found.to_dict("records")]
    return _wide(found.assign(said=said), _KIND, "said")


def detectable(found: pd.DataFrame) -> pd.DataFrame:
    """The smallest effect that these blocks would have detected: of the variants, the worse."""
    kinds = ["server", "load"]
    worst = found[found["variant"] != AGAIN].groupby([*kinds, "measure"], sort=False)["smallest"].max().reset_index()
    return _wide(worst.assign(said=worst["smallest"].map(change)), kinds, "said")


def of_itself(found: pd.DataFrame) -> str:
    """What the control shows: the untouched variant against itself."""
    control = found[found["variant"] == AGAIN]
    if control.empty:
        return f"There is no control: fewer than {FEWEST_RUNS} blocks, or no storms with the system's allocator."
    inside = int(((control["low"] <= 1) & (control["high"] >= 1)).sum())
    seen = int(control["seen"].isin(EFFECTS).sum())
    return (
        f"Compared with itself, `{UNTOUCHED}` has *no difference* inside its {CONFIDENCE:.0%} interval in {inside} of "
        f"{len(control)} comparisons, which is {inside / len(control):.0%}. {seen or 'None'} of them would pass for an "
        f"effect{': what it stands beside gets no answer' if seen else ''}."
    )


def answers(found: pd.DataFrame) -> list[str]:
    """A line for each measure of servers as a whole: the effects that are seen, or that there is none and what would
    have been.
    """
    lines = _too_few(found)
    for measure, (label, better) in MEASURES.items():
        rows = found[(found["measure"] == measure) & found["core"].notna()]
        if len(rows):
            lines.append(f"- **{label[0].upper()}{label[1:]}**: {_answer(rows, better)}")
    return lines or [f"Fewer than {FEWEST_RUNS} blocks: nothing is concluded."]


def advice(found: pd.DataFrame, runs: pd.DataFrame, matters: float) -> str:
    """When to change the allocator, and when not: one paragraph from what is seen and ``matters``.

    ``matters`` is the smallest effect that is a reason for anything, 0.05 for 5 %.
    """
    tested = found[found["core"].notna() & found["seen"].isin(DECIDED)]
    if tested.empty:
        return ""
    better = tested["measure"].map({measure: word for measure, (_, word) in MEASURES.items()})
    seen = tested["seen"] != "nothing"
    large = seen & (np.abs(np.log(tested["ratio"])) >= np.log(1 + matters))
    gains, costs = tested[large & (tested["seen"] == better)], tested[large & (tested["seen"] != better)]
    answered = runs.groupby("compared")["success_rate"].min().drop(AGAIN, errors="ignore")
    worst = ", ".join(f"{share:.2%} with {name}" for name, share in answered.items())
    said = [f"**When to change the allocator**: {where(gains) or 'nothing measured here is a reason to'}."]
    said.append(f"**When not**: to have more clients answered; in the worst storm that were {worst}.")
    if len(costs):
        said.append(f"What it costs: {where(costs)}.")
    said.append(
        f"Of {len(tested)} comparisons {int(seen.sum())} show an effect of {MATTERS:.0%} or more"
        + (f", {len(gains) + len(costs)} of them one of {matters:.0%}." if matters > MATTERS else ".")
    )
    return " ".join(said)


def _too_few(found: pd.DataFrame) -> list[str]:
    """A warning where no effect could be seen, whatever it is."""
    tested = found[(found["variant"] != AGAIN) & found["seen"].isin(DECIDED)]
    if tested.empty or tested["blocks"].max() >= FEWEST_TO_DECIDE:
        return []
    return [
        f"- **{tested['blocks'].max()} blocks are too few**: it takes {FEWEST_TO_DECIDE} to see any effect. What "
        "follows says what was not seen, not what is not there."
    ]


def _answer(rows: pd.DataFrame, better: str) -> str:
    decided = rows[rows["seen"].isin(DECIDED)]
    seen = decided[decided["seen"] != "nothing"]
    limited, unsteady = (int((rows["seen"] == word).sum()) for word in ("withheld", "unsteady"))
    if decided.empty:
        said = "no verdict."
    elif seen.empty:
        said = f"no effect in any of {len(decided)} comparisons; in half of them one of "
        said += f"{change(decided['smallest'].median())} would have been detected."
    else:
        good = (seen["seen"] == better).sum()
        said = f"an effect in {len(seen)} of {len(decided)} comparisons, {good} for the better: "
        said += "; ".join(_same_way(str(variant), alike) for (variant, _), alike in seen.groupby(["variant", "seen"]))
        said += "."
    said += f" In {limited} of {len(rows)} the generator was the limit: withheld." if limited else ""
    return said + (f" In {unsteady} equal storms would pass for an effect: unsteady, no answer." if unsteady else "")


def _same_way(variant: str, rows: pd.DataFrame) -> str:
    """``mimalloc −4.0 % to −9.1 % (hyper: storm, long; tokio: long)``; of one effect its interval."""
    loads = rows.groupby("server", sort=False)["load"].agg(", ".join)
    where = "; ".join(f"{server}: {names}" for server, names in loads.items())
    if len(rows) == 1:
        return f"{variant} {interval(rows.iloc[0].to_dict())} ({where})"
    return f"{variant} {_range(rows)} ({where})"


def where(rows: pd.DataFrame) -> str:
    """``peak memory with mimalloc (hyper, actix: −4.0 % to −9.1 %), …``."""
    said = []
    for (measure, variant, _), alike in rows.groupby(["measure", "variant", "seen"], sort=False):
        servers = ", ".join(dict.fromkeys(alike["server"]))
        said.append(f"{LABELS[str(measure)]} with {variant} ({servers}: {_range(alike)})")
    return "; ".join(said)


def _range(rows: pd.DataFrame) -> str:
    """From the smallest effect to the largest."""
    ordered = sorted(rows["ratio"], key=lambda ratio: max(ratio, 1 / ratio))
    return " to ".join(dict.fromkeys(map(change, (ordered[0], ordered[-1]))))


def _wide(rows: pd.DataFrame, kinds: list[str], values: str) -> pd.DataFrame:
    """A column for each measure that there is, rows in the order in which they come."""
    if rows.empty:
        return pd.DataFrame(columns=[*kinds, *LABELS.values()])
    order = list(dict.fromkeys(rows[kinds].itertuples(index=False, name=None)))
    columns = [measure for measure in MEASURES if (rows["measure"] == measure).any()]
    wide = rows.pivot(index=kinds, columns="measure", values=values).reindex(index=pd.MultiIndex.from_tuples(order))
    return wide[columns].fillna(NO_VALUE).rename(columns=LABELS).rename_axis(index=kinds, columns=None)
