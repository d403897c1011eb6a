"""Stacks beside each other: one number each, by scenario and CPU regime."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from harness.plots.style import look, percent_axis, storm_style

REGIME_MARKS = {"shared": "o", "disjoint": "D"}


def stack_comparison(runs: pd.DataFrame, title: str) -> Figure:
    """Success, throughput and first-try share of every stack: a dot for each run, its shape the CPU regime.

    A hollow mark is a run in which the generator was the limit: its throughput is the generator's.
    """
    measures = (
        ("success_rate", "answered in time"),
        ("first_try_share", "answered without\nany retransmission"),
        ("throughput_per_s", "answers a second"),
    )
    servers = list(dict.fromkeys(runs["server"]))
    heights = {server: len(servers) - 1 - index for index, server in enumerate(servers)}
    offsets = {"shared": 0.16, "disjoint": -0.16}
    with storm_style():
        figure, panels = plt.subplots(1, len(measures), sharey=True, figsize=(7.2, 0.9 + 0.34 * len(servers)))
        for axes, (column, label) in zip(panels, measures, strict=True):
            for _, run in runs.iterrows():
                colour, _line = look(run["server"])
                limited = column == "throughput_per_s" and run["generator"] == "limiting"
                axes.plot(
                    run[column],
                    heights[run["server"]] + offsets.get(run["cpu"], 0.0),
                    marker=REGIME_MARKS.get(run["cpu"], "s"),
                    markersize=6,
                    color=colour,
                    markerfacecolor="white" if limited else colour,
                    linestyle="none",
                )
            axes.set_xlabel(label)
            if column == "throughput_per_s":
                largest = float(np.nanmax(runs[column].to_numpy(dtype=float)))
                axes.set_xlim(0, 1.1 * largest)
                axes.xaxis.set_major_formatter(lambda value, position: f"{value / 1000:g} k")
            else:
                axes.set_xlim(-0.04, 1.04)
                axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
                percent_axis(axes, "x")
        panels[0].set_yticks(list(heights.values()), list(heights))
        panels[0].set_ylim(-0.6, len(servers) - 0.4)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
        figure.legend(handles=_regime_handles(runs), loc="outside lower center", ncols=4)
    return figure


def _regime_handles(runs: pd.DataFrame) -> list[Line2D]:
    handles = [
        Line2D([], [], marker=REGIME_MARKS.get(regime, "s"), color="#444444", linestyle="none", label=f"{regime} CPUs")
        for regime in dict.fromkeys(runs["cpu"])
    ]
    if (runs["generator"] == "limiting").any():
        handles.append(
            Line2D(
                [],
                [],
                marker="o",
                color="#444444",
                markerfacecolor="white",
                linestyle="none",
                label="hollow: the generator was the limit",
            )
        )
    return handles
