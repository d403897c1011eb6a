"""How many requests took longer than a latency: the tail, where a fault of one connection shows."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.plots.style import headline, log_time_axis, storm_style
from harness.stats import GRID_MS

_LOOKS = (("#777777", ":"), ("#000000", "-"), ("#009E73", "--"), ("#0072B2", "-."), ("#D55E00", "-"), ("#CC79A7", "--"))
"""Colour and line of each variant, in the plan's order."""


def slower_than_by_variant(runs: pd.DataFrame, title: str) -> Figure:
    """Share of all requests that were not answered within a latency: a line for each run, a look for each variant.

    ``runs`` has the columns of :data:`harness.results.COLUMNS` and ``variant``. A line ends where the run has no slower
    request; one that does not fall to nothing has some that were never answered.
    """
    looks = dict(zip(dict.fromkeys(runs["variant"]), _LOOKS, strict=False))
    grid, least = np.asarray(GRID_MS), 1 / float(runs["planned"].max())
    last = 0
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 3.6))
        for run in runs.to_dict("records"):
            slower = 1 - np.asarray(run["latency_shares"], np.float64)
            shown = slower >= least / 2
            last = max(last, int(np.flatnonzero(shown).max(initial=0)))
            colour, line = looks[run["variant"]]
            axes.plot(grid[shown], slower[shown], color=colour, linestyle=line, linewidth=1.1, alpha=0.8)
        axes.set_yscale("log")
        axes.set_ylim(least / 1.5, 1.3)
        log_time_axis(axes, 1.0, GRID_MS[min(last + 2, len(GRID_MS) - 1)])
        axes.yaxis.set_major_formatter(lambda value, position: f"{100 * value:.3g}%")
        axes.set_xlabel("latency, from when wanted to last byte")
        axes.set_ylabel("share of all requests that took longer")
        handles = [
            Line2D([], [], color=colour, linestyle=line, label=str(variant))
            for variant, (colour, line) in looks.items()
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure
