"""How many requests took longer than a latency: the tail, where a fault of one connection or one policy shows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.page.style import headline, log_time_axis, storm_style
from harness.thought.stats import GRID_MS

_LOOKS = (("#777777", ":"), ("#D55E00", "-"), ("#0072B2", "-."), ("#009E73", "--"))
"""Colour and line of each way, in the order in which they come."""


def slower_than_in_panels(runs: pd.DataFrame, panel: str, way: str, title: str) -> Figure:
    """Share of all requests that were not answered within a latency: a line for each run.

    ``runs`` has the columns of :data:`runs.COLUMNS` and two more: a panel for each value of ``panel``, in
    which the values of ``way`` are told apart by their looks. A line ends where the run has no slower request; one that
    does not fall to nothing has some that were never answered.
    """
    panels, looks = list(dict.fromkeys(runs[panel])), dict(zip(dict.fromkeys(runs[way]), _LOOKS, strict=False))
    columns = len(panels) if len(panels) <= 3 else 2
    rows = -(-len(panels) // columns)
    grid, least = np.asarray(GRID_MS), 1 / float(runs["planned"].max())
    last = 0
    with storm_style():
        figure, places = plt.subplots(
            rows, columns, sharex=True, sharey=True, squeeze=False, figsize=(7.2, 1.2 + 2.1 * rows)
        )
        for axes, name in zip(places.flat, panels, strict=False):
            for run in runs[runs[panel] == name].to_dict("records"):
                slower = 1 - np.asarray(run["latency_shares"], np.float64)
                shown = slower >= least / 2
                last = max(last, int(np.flatnonzero(shown).max(initial=0)))
                colour, line = looks[run[way]]
                axes.plot(grid[shown], slower[shown], color=colour, linestyle=line, linewidth=1.1, alpha=0.8)
            axes.set_title(str(name), fontweight="normal", fontsize=9)
        for axes in places.flat[len(panels) :]:
            axes.set_visible(False)
        for axes in places.flat:
            axes.set_yscale("log")
            axes.set_ylim(least / 1.5, 1.3)
            log_time_axis(axes, 1.0, GRID_MS[min(last + 2, len(GRID_MS) - 1)])
            axes.yaxis.set_major_formatter(lambda value, position: f"{100 * value:.3g}%")
            axes.tick_params(axis="x", labelsize=7 if columns > 2 else 9)
        for axes in places[-1]:
            axes.set_xlabel("latency, from when wanted")
        for axes in places[:, 0]:
            axes.set_ylabel("share that took longer")
        handles = [
            Line2D([], [], color=colour, linestyle=line, label=str(name)) for name, (colour, line) in looks.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        headline(figure, title)
    return figure
