"""A steady load, and a server that was stopped in it: how many requests lack their answer, over time."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.page.style import headline, storm_style
from harness.thought.stats import TIMELINE_STEP_S

_COLOURS = ("#D55E00", "#E69F00", "#0072B2")


def recoveries(runs: pd.DataFrame, stopped_s: float, title: str) -> Figure:
    """``runs`` with ``rate``, ``clients``, ``answers_per_step`` and ``limit``, whose values the colours tell apart.

    A panel for each server, a line for each storm: requests that were due and have no answer, those given up included.
    """
    servers, limits = list(dict.fromkeys(runs["server"])), list(dict.fromkeys(runs["limit"]))
    colours = dict(zip(limits, _COLOURS, strict=False))
    columns = len(servers) if len(servers) <= 3 else 2
    rows = -(-len(servers) // columns)
    with storm_style():
        figure, grid = plt.subplots(
            rows, columns, sharex=True, sharey=True, squeeze=False, figsize=(7.2, 0.9 + 2.0 * rows)
        )
        for axes, server in zip(grid.flat, servers, strict=False):
            axes.axvspan(0, stopped_s, color="#000000", alpha=0.06, linewidth=0)
            for run in runs[runs["server"] == server].itertuples():
                steps = int(np.ceil(run.wall_s / TIMELINE_STEP_S)) + 1
                time_s = np.arange(1, steps + 1) * TIMELINE_STEP_S
                due = np.minimum(run.rate * time_s, run.clients)
                lacking = np.maximum(due - np.cumsum(np.asarray(run.answers_per_step)[:steps]), 0)
                axes.plot(time_s, lacking, color=colours[run.limit], linewidth=1, alpha=0.75)
            last_due_s = float((runs["clients"] / runs["rate"]).max())
            axes.axvline(last_due_s, color="#444444", linewidth=0.8, linestyle=":")
            axes.set_title(server, fontweight="normal", fontsize=9)
        grid[0, 0].set_ylim(bottom=0)
        for axes in grid.flat[len(servers) :]:
            axes.set_visible(False)
        for axes in grid[-1]:
            axes.set_xlabel("seconds from the first request")
        for axes in grid[:, 0]:
            axes.set_ylabel("due, without answer")
        handles = [Line2D([], [], color=colours[limit], label=limit) for limit in limits]
        handles.append(Line2D([], [], color="#444444", linewidth=0.8, linestyle=":", label="the last request is due"))
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        headline(figure, title)
    return figure
