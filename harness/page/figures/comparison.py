"""Stacks beside each other: a panel for each measure, a mark for each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.page.style import (
    headline,
    log_time_axis,
    look,
    mark_unanswered,
    percent_axis,
    storm_style,
    unanswered_handle,
)

REGIME_MARKS = {"shared": "o", "disjoint": "D"}
REGIME_OFFSETS = {"shared": 0.17, "disjoint": -0.17}


def compare_stacks(runs: pd.DataFrame, title: str, measures: Sequence[str]) -> Figure:
    """A row for each server, a panel for each of ``measures`` (names in :data:`MEASURES`), a mark for each run.

    The shape of a mark is the CPU regime. It is hollow where the generator was the limit: speeds are then the
    generator's. A quantile that lies among the unanswered stands at the right edge as a cross.
    """
    servers = list(dict.fromkeys(runs["server"]))
    heights = {server: len(servers) - 1 - index for index, server in enumerate(servers)}
    with storm_style():
        figure, panels = plt.subplots(
            1, len(measures), sharey=True, squeeze=False, figsize=(7.2, 1.15 + 0.36 * len(servers))
        )
        for axes, column in zip(panels[0], measures, strict=True):
            label, is_speed, prepare = MEASURES[column]
            prepare(axes, runs[column])
            axes.set_xlabel(label)
            for _, run in runs.iterrows():
                colour, _line = look(run["server"])
                height = heights[run["server"]] + REGIME_OFFSETS.get(run["cpu"], 0.0)
                if pd.isna(run[column]):
                    mark_unanswered(axes, height, colour)
                    continue
                hollow = is_speed and run["generator"] == "limiting"
                axes.plot(
                    run[column],
                    height,
                    marker=REGIME_MARKS.get(run["cpu"], "s"),
                    markersize=5.5,
                    color=colour,
                    markerfacecolor="white" if hollow else colour,
                    linestyle="none",
                    alpha=0.85,
                )
        panels[0][0].set_yticks(list(heights.values()), list(heights))
        panels[0][0].set_ylim(-0.6, len(servers) - 0.4)
        headline(figure, title)
        figure.legend(handles=_handles(runs, measures), loc="outside lower center", ncols=4)
    return figure


def _share(axes: Axes, values: pd.Series) -> None:
    axes.set_xlim(-0.05, 1.05)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    percent_axis(axes, "x")


def _rate(axes: Axes, values: pd.Series) -> None:
    axes.set_xlim(0, 1.1 * float(np.nanmax(values.to_numpy(dtype=float))))
    axes.xaxis.set_major_formatter(lambda value, position: f"{value / 1000:g} k" if value else "0")


def _time(axes: Axes, values: pd.Series) -> None:
    log_time_axis(axes, float(values.min()) * 0.7, float(values.max()) * 1.4)


MEASURES: dict[str, tuple[str, bool, Callable[[Axes, pd.Series], None]]] = {
    "success_rate": ("answered", False, _share),
    "first_try_share": ("answered without\nany retransmission", False, _share),
    "throughput_per_s": ("answers a second", True, _rate),
    "p50_ms": ("median latency", True, _time),
    "p99_ms": ("99th percentile of latency", True, _time),
}
"""Column → (label, whether it is a speed that a slow generator spoils, how its axis is prepared)."""


def _handles(runs: pd.DataFrame, measures: Sequence[str]) -> list[Line2D]:
    def mark(shape: str, label: str, face: str = "#444444") -> Line2D:
        return Line2D([], [], marker=shape, color="#444444", markerfacecolor=face, linestyle="none", label=label)

    handles = [mark(REGIME_MARKS.get(regime, "s"), f"{regime} CPUs") for regime in dict.fromkeys(runs["cpu"])]
    if (runs["generator"] == "limiting").any() and any(MEASURES[name][1] for name in measures):
        handles.append(mark("o", "hollow: generator the limit", "white"))
    if runs[list(measures)].isna().any(axis=None):
        handles.append(unanswered_handle())
    return handles
