"""Goodput over time, and beside it what the clients send: a panel for each policy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.page.style import headline, storm_style

_ANSWERS, _CONNECTS = "#0072B2", "#D55E00"


def goodput_over_time(runs: pd.DataFrame, title: str, columns: int = 2) -> Figure:
    """``runs`` with columns ``variant``, ``rate``, ``stall_at_s`` and those of :func:`policies.aftermaths`.

    Lines for each run: answers a second, and connections begun a second. The grey stretch is the trigger, the dotted
    line what is offered, which ends at the right edge.
    """
    variants = list(dict.fromkeys(runs["variant"]))
    columns = min(columns, len(variants))
    rows = -(-len(variants) // columns)
    with storm_style():
        figure, grid = plt.subplots(
            rows, columns, sharex=True, sharey=True, squeeze=False, figsize=(7.2, 0.9 + 1.65 * rows)
        )
        for axes, variant in zip(grid.flat, variants, strict=False):
            storms = runs[runs["variant"] == variant]
            first = storms.iloc[0]
            offered_s = math.ceil(first["planned"] / first["rate"])
            for run in storms.to_dict("records"):
                _draw(axes, run["goodput_per_s"], offered_s, _ANSWERS, "-")
                _draw(axes, run["connects_per_s"], offered_s, _CONNECTS, "--")
            axes.axvspan(first["stall_at_s"], first["trigger_over_s"], color="#dddddd", linewidth=0)
            axes.axhline(first["rate"], color="#444444", linestyle=":", linewidth=0.8)
            axes.set_xlim(0, float(first["planned"] / first["rate"]))
            axes.set_title(str(variant), fontweight="normal", fontsize=9 if columns < 3 else 8)
        for axes in grid.flat[len(variants) :]:
            axes.set_visible(False)
        least = float(runs["rate"].min())
        for axes in grid.flat:
            axes.set_yscale("symlog", linthresh=least)
            axes.set_ylim(bottom=-0.05 * least)
            axes.yaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
        for axes in grid[-1]:
            axes.set_xlabel("seconds from the start")
        for axes in grid[:, 0]:
            axes.set_ylabel("a second")
        figure.legend(handles=_handles(), loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure


def _draw(axes: Axes, per_second: Sequence[int], offered_s: int, colour: str, line: str) -> None:
    """Counts end with the last that is not zero; what is offered goes on, and then nothing came of it."""
    counts = np.pad(per_second, (0, max(0, offered_s - len(per_second))))
    axes.plot(np.arange(len(counts)) + 0.5, counts, color=colour, linestyle=line, linewidth=1.0, alpha=0.75)


def _handles() -> list[Line2D]:
    return [
        Line2D([], [], color=_ANSWERS, label="answers"),
        Line2D([], [], color=_CONNECTS, linestyle="--", label="attempts"),
        Line2D([], [], color="#444444", linestyle=":", label="requests that are wanted"),
    ]
