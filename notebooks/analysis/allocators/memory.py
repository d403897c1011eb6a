"""Memory of a server over time: a panel for each server, a line for each allocator."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from harness.page.style import ALLOCATOR_LOOK, headline, storm_style
from harness.thought.stats import TIMELINE_STEP_S

MIB = 2**20


def memory_over_time(runs: pd.DataFrame, title: str) -> Figure:
    """``runs`` with columns ``allocator`` and ``rss_per_step``: medians over runs as lines, their range as a band.

    The grey stretch is the storm, until the median of its ends.
    """
    servers = list(dict.fromkeys(runs["server"]))
    columns = 2 if len(servers) in (2, 4) else min(3, len(servers))
    rows = -(-len(servers) // columns)
    with storm_style():
        figure, grid = plt.subplots(
            rows, columns, sharex=True, squeeze=False, figsize=(7.2, 0.9 + 2.0 * rows), layout="constrained"
        )
        for axes, server in zip(grid.flat, servers, strict=False):
            of_server = runs[runs["server"] == server]
            axes.axvspan(0, float(of_server["wall_s"].median()), color="#eeeeee", linewidth=0)
            for allocator, alike in of_server.groupby("allocator"):
                _draw(axes, alike, str(allocator))
            axes.set_title(server, fontweight="normal", fontsize=9)
            axes.set_ylim(bottom=0)
            axes.set_xlabel("seconds from the first connect")
        for axes in grid.flat[len(servers) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("resident memory, MiB")
        named = {text: line for axes in grid.flat for line, text in zip(*axes.get_legend_handles_labels(), strict=True)}
        figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure


def _draw(axes: Axes, runs: pd.DataFrame, allocator: str) -> None:
    colour, line = ALLOCATOR_LOOK[allocator]
    values = _stacked(runs) / MIB
    if not values.size:
        return
    time_s = (np.arange(values.shape[1]) + 1) * TIMELINE_STEP_S
    axes.fill_between(time_s, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.plot(time_s, np.median(values, axis=0), color=colour, linestyle=line, linewidth=1.4, label=allocator)


def _stacked(runs: pd.DataFrame) -> NDArray[np.float64]:
    """One row a run, as many steps as all of them have; a step before the first sample has the first sample's value."""
    series = [pd.Series(values, dtype=float).bfill() for values in runs["rss_per_step"].dropna()]
    steps = min((len(one) for one in series), default=0)
    return np.array([one[:steps] for one in series], np.float64)
