"""Distributions of latency over all requests: curves that end below 100 % where requests stayed unanswered."""

from __future__ import annotations

from collections.abc import Iterable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.plots.style import log_time_axis, look, percent_axis, storm_style
from harness.stats import GRID_MS


def latency_distributions(runs: pd.DataFrame, title: str) -> Figure:
    """Share of all requests answered within a latency: a panel for each CPU regime, a line for each run.

    ``runs`` has the columns of :data:`harness.results.COLUMNS`. What a curve lacks to 100 % was never answered.
    """
    regimes = list(dict.fromkeys(runs["cpu"]))
    with storm_style():
        figure, panels = plt.subplots(1, len(regimes), sharey=True, squeeze=False, figsize=(7.2, 4.0))
        for axes, regime in zip(panels[0], regimes, strict=True):
            labelled: set[str] = set()
            for _, run in runs[runs["cpu"] == regime].iterrows():
                colour, line = look(run["server"])
                shares = np.asarray(run["latency_shares"])
                shown = shares > 0
                label = None if run["server"] in labelled else run["server"]
                labelled.add(run["server"])
                axes.plot(np.asarray(GRID_MS)[shown], shares[shown], color=colour, linestyle=line, label=label)
            log_time_axis(axes)
            percent_axis(axes, "y")
            axes.set_ylim(0, 1.02)
            axes.set_title(f"{regime} CPUs", fontweight="normal", fontsize=9)
            axes.set_xlabel("latency, from connect to last byte")
        panels[0][0].set_ylabel("share of all requests answered")
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        handles, labels = _all_handles(panels[0])
        figure.legend(handles, labels, loc="outside lower center", ncols=min(8, len(labels)))
    return figure


def _all_handles(panels: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
