"""A measure over the backlog, for every stack: a panel for each CPU regime and state of this host's input queue."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator

from harness.page.style import headline, label_ms, look, mark_unanswered, percent_axis, storm_style, unanswered_handle
from harness.thought.stats import median_of_runs

_SPREAD = 1.06
"""Factor between neighbouring stacks on the backlog axis, so that their marks do not cover each other."""
_LABELS = {"first_try_share": "answered without\nany retransmission", "p99_ms": "99th percentile of latency"}


def backlog_sweep(runs: pd.DataFrame, measure: str, title: str) -> Figure:
    """``first_try_share`` or ``p99_ms`` over ``backlog_effective``; rows by ``input_queue``, columns by ``cpu``.

    A mark for each storm, hollow where the stack chose its backlog by itself (``asked`` is null), a filled cross where
    the server ended in the storm. A quantile that lies among the unanswered stands at the upper edge as a thin cross.
    Lines join medians, as far as they were answered.
    """
    queues, regimes = list(dict.fromkeys(runs["input_queue"])), list(dict.fromkeys(runs["cpu"]))
    servers = list(dict.fromkeys(runs["server"]))
    with storm_style():
        figure, grid = plt.subplots(
            len(queues),
            len(regimes),
            sharex=True,
            sharey=True,
            squeeze=False,
            figsize=(7.2, 0.9 + 2.3 * len(queues)),
        )
        for row, queue in zip(grid, queues, strict=True):
            for axes, regime in zip(row, regimes, strict=True):
                chosen = runs[(runs["input_queue"] == queue) & (runs["cpu"] == regime)]
                for place, server in enumerate(servers):
                    _draw(axes, chosen[chosen["server"] == server], measure, server, place - (len(servers) - 1) / 2)
                axes.set_title(f"{regime} CPUs, input queue {queue}", fontweight="normal", fontsize=9, pad=9)
        axes = grid[0, 0]
        axes.set_xscale("log")
        asked = sorted(set(runs.loc[runs["asked"].notna(), "backlog_effective"]))
        axes.xaxis.set_major_locator(FixedLocator(asked))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
        if measure.endswith("_ms"):
            axes.set_yscale("log")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(lambda value, position: label_ms(value))
        else:
            percent_axis(axes, "y")
            axes.set_ylim(-0.05, 1.05)
        for axes in grid[-1]:
            axes.set_xlabel("effective backlog")
        for axes in grid[:, 0]:
            axes.set_ylabel(_LABELS[measure])
        figure.legend(handles=_handles(runs, servers, measure), loc="outside lower center", ncols=5)
        headline(figure, title)
    return figure


def _draw(axes: Axes, storms: pd.DataFrame, measure: str, server: str, place: float) -> None:
    colour, line = look(server)
    medians = storms.groupby("backlog_effective")[measure].agg(median_of_runs).replace(np.inf, np.nan)
    axes.plot(medians.index * _SPREAD**place, medians, color=colour, linestyle=line, linewidth=0.8, alpha=0.6)
    for backlog in storms.loc[storms[measure].isna(), "backlog_effective"]:
        mark_unanswered(axes, backlog * _SPREAD**place, colour, "top")
    for own, marked in storms.groupby(storms["asked"].isna()):
        for status, alike in marked.groupby("status"):
            axes.plot(
                alike["backlog_effective"] * _SPREAD**place,
                alike[measure],
                "o" if status == "complete" else "X",
                color=colour,
                markerfacecolor="white" if own and status == "complete" else colour,
                markersize=4.5,
                alpha=0.85,
            )


def _handles(runs: pd.DataFrame, servers: list[str], measure: str) -> list[Line2D]:
    handles = [Line2D([], [], color=look(name)[0], marker="o", markersize=4.5, label=name) for name in servers]
    dark: dict[str, Any] = {"color": "#444444", "linestyle": "none", "markersize": 4.5}
    if runs["asked"].isna().any():
        handles.append(Line2D([], [], marker="o", markerfacecolor="white", label="its default", **dark))
    if (runs["status"] != "complete").any():
        handles.append(Line2D([], [], marker="X", label="server ended", **dark))
    if runs[measure].isna().any():
        handles.append(unanswered_handle())
    return handles
