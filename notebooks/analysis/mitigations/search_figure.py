"""The path of a search: what each candidate costs, and what its storms came to."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.page.style import headline, log_time_axis, mark_unanswered, storm_style, unanswered_handle
from harness.plan.search import Search, Tested

_MET, _MISSED = "#0072B2", "#D55E00"


def path_of_a_search(search: Search, tested: Sequence[Tested], runs: pd.DataFrame, title: str) -> Figure:
    """A row for each candidate that had storms, the cheapest above; a mark for each storm's 99th percentile.

    ``runs`` are the search's in order of time. Filled marks are the storms of the test, hollow ones the fresh ones; a
    storm that missed the target, for its time or for its answers, is a square.
    """
    had = [one for one in tested if one.test]
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 1.5 + 0.3 * len(had)))
        for place, one in enumerate(had):
            storms = runs[runs["plan_hash"] == one.candidate.trial.plan_hash]
            for number, (met, p99_ms) in enumerate(zip(one.test + one.fresh, storms["p99_ms"], strict=False)):
                colour, fresh = (_MET if met else _MISSED), number >= len(one.test)
                if pd.isna(p99_ms):
                    mark_unanswered(axes, place, colour)
                    continue
                face = "white" if fresh else colour
                axes.plot(p99_ms, place, "o" if met else "s", color=colour, markerfacecolor=face, markersize=4.5)
        known = [*runs["p99_ms"].dropna(), search.target.p99_ms]
        log_time_axis(axes, min(known) / 1.5, max(known) * 1.5)
        axes.axvline(search.target.p99_ms, color="#444444", linestyle="--", linewidth=0.8)
        axes.set_yticks(
            range(len(had)), [f"{one.candidate.name} (cost {one.candidate.cost:g}): {one.fate}" for one in had]
        )
        axes.set_ylim(len(had) - 0.4, -0.6)
        axes.set_xlabel("99th percentile of a storm")
        handles = [
            Line2D([], [], marker="o", color=_MET, linestyle="none", label="met the target"),
            Line2D([], [], marker="s", color=_MISSED, linestyle="none", label="missed it"),
            Line2D([], [], marker="o", color="#444444", markerfacecolor="white", linestyle="none", label="fresh storm"),
            Line2D([], [], color="#444444", linestyle="--", label="target"),
        ]
        if runs["p99_ms"].isna().any():
            handles.append(unanswered_handle())
        figure.legend(handles=handles, loc="outside lower center", ncols=5)
        headline(figure, title)
    return figure
