"""What comparisons of kernel settings say, in tables and words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from analysis.allocators.told import change, interval
from analysis.kernel.settings import AGAIN, AS_IT_IS, SETTINGS, Setting
from harness.page.tables import NO_VALUE, quantile
from harness.thought.comparing import MATTERS
from harness.thought.deciding import FEWEST_TO_DECIDE
from harness.thought.inference import FEWEST_RUNS

AT_THE_QUEUE = ("first_try_share", "ListenOverflows")
"""Measures of the accept queue: who found room in it at once, and how often it was full."""


def _share(value: float) -> str:
    return f"{value:.2%}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


MEASURES: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "first_try_share": ("at the first try", "more", _share),
    "ListenOverflows": ("ListenOverflows", "less", _count),
    "success_rate": ("answered", "more", _share),
    "p50_or_more_ms": ("median latency", "less", quantile),
    "p99_or_more_ms": ("99th percentile", "less", quantile),
    "lo_rx_dropped": ("lost in the input queue", "less", _count),
    "half_open_drops": ("SYNs dropped, accept queue not full", "less", _count),
    "segments_each": ("segments a connection", "less", "{:.2f}".format),
    "cpu_us_per_answer": ("server's CPU time per answer", "less", "{:.1f} µs".format),
}
"""Column → (what it is called, what of it is better, how a value is written)."""
FOR_CLIENTS = ("success_rate", "p50_or_more_ms", "p99_or_more_ms")
"""What clients notice: by these a setting is better or worse."""


def moved(row: Mapping[Any, Any]) -> str:
    """``median latency 2.05 s → 1.22 s: −40.4 % (95 % interval −40.6 % to −40.1 %)``, geometric means and their ratio.

    Or that there is none that matters, and which would have been seen. Where the interval excludes no difference and
    not what does not matter, it says so.
    """
    label, _, form = MEASURES[row["measure"]]
    values = f"{label} {form(row['before'])} → {form(row['after'])}"
    if row["seen"] != "nothing":
        return f"{values}: {interval(row)}"
    if row["low"] > 1 or row["high"] < 1:
        few = f"not shown, {row['blocks']} blocks are too few"
        small = row["low"] <= 1 + MATTERS and row["high"] >= 1 / (1 + MATTERS)
        overlap = "not shown, as storms with it and without overlap"
        why = few if row["blocks"] < FEWEST_TO_DECIDE else f"not shown to be {MATTERS:.0%}" if small else overlap
        return f"{values}: {interval(row)}, {why}"
    if row["kind"] == "none":
        return f"{values}: the same in {row['blocks']} of {row['blocks']} blocks"
    return f"{values}: no difference that this design can see (smallest detectable {change(row['smallest'])})"


def told(found: pd.DataFrame, variant: str) -> str:
    """What was compared of a variant, whether an effect was seen or not."""
    return "; ".join(moved(row) for row in found[found["variant"] == variant].to_dict("records")) or NO_VALUE


def seen_in(found: pd.DataFrame, variant: str) -> pd.DataFrame:
    """The effects of a variant that are seen."""
    return found[(found["variant"] == variant) & (found["seen"] != "nothing")]


def happened(found: pd.DataFrame, variant: str) -> str:
    """All effects of a variant in words; where there is none, how small a one would have been seen."""
    rows = found[found["variant"] == variant]
    if rows.empty:
        return NO_VALUE
    told_of = rows[_shown_or_suggested(rows)]
    if len(told_of):
        return "; ".join(moved(row) for row in told_of.to_dict("records"))
    widest = rows[rows["measure"].isin(FOR_CLIENTS)].sort_values("smallest").iloc[-1]
    label = MEASURES[widest["measure"]][0]
    return (
        f"no difference that this design can see in any of {len(rows)} measures "
        f"(smallest detectable: {change(widest['smallest'])} in the {label}, less in others that clients notice)"
    )


def _shown_or_suggested(rows: pd.DataFrame) -> pd.Series:
    """Which comparisons have an effect that is seen, or that at least their own interval has."""
    return (rows["seen"] != "nothing") | (rows["low"] > 1) | (rows["high"] < 1)


NO_TOUCH, AT_ONCE, LATER = "no", "yes: who finds room at once", "only what is dropped later"
"""How a setting can touch the overflow of the accept queue."""


def touches(found: pd.DataFrame, variant: str) -> str:
    """Whether it changes who finds room in the accept queue, or how often that is full."""
    seen = seen_in(found, variant)
    at_queue = seen[seen["measure"].isin(AT_THE_QUEUE)]
    if at_queue.empty:
        return NO_TOUCH
    return AT_ONCE if (at_queue["measure"] == "first_try_share").any() else LATER


def headline(found: pd.DataFrame) -> str:
    """For a figure: how many of the settings change who finds room in the accept queue, or how often it is full."""
    there = [setting.variant for setting in SETTINGS if (found["variant"] == setting.variant).any()]
    touching = [variant for variant in there if touches(found, variant) != NO_TOUCH]
    return f"{len(touching)} of {len(there)} changes touch the overflow of the accept queue"


ADVICE = ("set it", "leave it", "weigh it", "no reason to")


def advice(found: pd.DataFrame, variant: str) -> str:
    """A word of :data:`ADVICE`, by what clients noticed in this storm."""
    seen = seen_in(found, variant)
    noticed = seen[seen["measure"].isin(FOR_CLIENTS)]
    better = noticed["seen"] == noticed["measure"].map(lambda measure: MEASURES[measure][1])
    good, bad, both, nothing = ADVICE
    if noticed.empty:
        return nothing
    return good if better.all() else both if better.any() else bad


def answers(found: pd.DataFrame) -> list[str]:
    """A line each: what changes who finds room, what helps, what harms, and what nothing was seen of."""
    settings = [setting for setting in SETTINGS if (found["variant"] == setting.variant).any()]
    if not settings:
        return [f"Fewer than {FEWEST_RUNS} blocks: nothing is concluded."]

    def told(chosen: list[Setting], of: tuple[str, ...]) -> str:
        rows = {one: seen_in(found, one.variant) for one in chosen}
        lines = [
            f"`{_name(one)}` ({'; '.join(moved(row) for row in seen[seen['measure'].isin(of)].to_dict('records'))})"
            for one, seen in rows.items()
        ]
        return "; ".join(lines) or "none of them"

    room = [one for one in settings if touches(found, one.variant) == AT_ONCE]
    by_advice = {word: [one for one in settings if advice(found, one.variant) == word] for word in ADVICE}
    nothing = {one: happened(found, one.variant) for one in settings if seen_in(found, one.variant).empty}
    silent = [one for one in nothing if not _shown_or_suggested(found[found["variant"] == one.variant]).any()]
    suggested = [f"`{_name(one)}` ({words})" for one, words in nothing.items() if one not in silent]
    return [
        f"- **Who finds room in the accept queue** is changed by {len(room)} of {len(settings)}: "
        f"{told(room, ('first_try_share',))}.",
        f"- **What helps clients in such a storm**: {told(by_advice['set it'], FOR_CLIENTS)}.",
        f"- **What harms them**: {told(by_advice['leave it'], FOR_CLIENTS)}.",
        f"- **What does both**: {told(by_advice['weigh it'], FOR_CLIENTS)}.",
        f"- **Suggested, and not shown**: {'; '.join(suggested) or 'none'}.",
        f"- **No difference that this design can see** in any measure: "
        f"{', '.join(f'`{_name(one)}`' for one in silent) or 'of none of them'}.",
    ]


def operators_table(found: pd.DataFrame, elsewhere: Mapping[str, str]) -> pd.DataFrame:
    """A row for each setting that was measured: what is said, what happened, what to do, and where else it acts."""
    there = set(found["variant"])
    rows = [
        {
            "setting": _name(setting),
            "what is said": setting.said,
            "what happened in this storm": happened(found, setting.variant),
            "touches accept-queue overflow": touches(found, setting.variant),
            "in such a storm": advice(found, setting.variant),
            "under another condition": elsewhere.get(setting.variant, NO_VALUE),
        }
        for setting in SETTINGS
        if setting.variant in there
    ]
    return pd.DataFrame(rows).set_index("setting") if rows else pd.DataFrame()


def numbers(found: pd.DataFrame) -> pd.DataFrame:
    """Ratio and interval of each comparison: a row for each variant, one column each measure; ▲ ▼ where one is seen."""
    if found.empty:
        return pd.DataFrame()
    signs = {"more": " ▲", "less": " ▼", "nothing": ""}
    said = [f"{interval(row)}{signs[row['seen']]}" for row in found.to_dict("records")]
    labels = [MEASURES[measure][0] for measure in found["measure"]]
    wide = found.assign(said=said, label=labels).pivot(index=["variant", "against"], columns="label", values="said")
    order = found[["variant", "against"]].drop_duplicates().itertuples(index=False, name=None)
    columns = list(dict.fromkeys(labels))
    return (
        wide.reindex(index=pd.MultiIndex.from_tuples(order), columns=columns).fillna(NO_VALUE).rename_axis(columns=None)
    )


def of_itself(found: pd.DataFrame) -> str:
    """What the storm as it is shows when it is compared with itself."""
    control = found[found["variant"] == AGAIN]
    if control.empty:
        return "There is no control: fewer than three blocks."
    inside = int(((control["low"] <= 1) & (control["high"] >= 1)).sum())
    seen = int((control["seen"] != "nothing").sum())
    return (
        f"The storm as it is, compared with itself in the same blocks, has *no difference* inside its interval in "
        f"{inside} of {len(control)} comparisons; {seen or 'none'} of them would pass for an effect of {MATTERS:.0%}."
    )


def run_ids(storms: pd.DataFrame) -> pd.DataFrame:
    """The runs of each variant."""
    by_variant = storms.sort_values("run_id").groupby("variant", observed=True)["run_id"]
    return pd.DataFrame({"runs": by_variant.size(), "run ids": by_variant.agg(" ".join)})


def _name(setting: Setting) -> str:
    return setting.change if setting.against == AS_IT_IS else f"{setting.change} (against: {setting.against})"
