"""Distributions of latency over all requests: curves that end below 100 % where requests stayed unanswered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.page.style import headline, log_time_axis, look, percent_axis, storm_style
from harness.thought.stats import GRID_MS


def latency_distributions(runs: pd.DataFrame, title: str) -> Figure:
    """Share of all requests answered within a latency: a panel for each CPU regime, a line for each server, the median
    of its runs.

    ``runs`` has the columns of :data:`harness.thought.runs.COLUMNS`. What a curve lacks to 100 % was never answered.
    """
    regimes = list(dict.fromkeys(runs["cpu"]))
    first, last = _where_curves_rise(runs)
    with storm_style():
        figure, panels = plt.subplots(1, len(regimes), sharey=True, squeeze=False, figsize=(7.2, 4.0))
        for axes, regime in zip(panels[0], regimes, strict=True):
            storms = runs[runs["cpu"] == regime]
            for server, alike in storms.groupby("server", sort=False):
                colour, line = look(str(server))
                shares = np.median(np.stack(alike["latency_shares"].to_list()), axis=0)
                shown = shares > 0
                axes.plot(np.asarray(GRID_MS)[shown], shares[shown], color=colour, linestyle=line, label=server)
            log_time_axis(axes, GRID_MS[first], GRID_MS[last])
            percent_axis(axes, "y")
            axes.set_ylim(0, 1.02)
            limited = int((storms["generator"] == "limiting").sum())
            note = f" (generator the limit in {limited} of {len(storms)})" if limited else ""
            axes.set_title(f"{regime} CPUs{note}", fontweight="normal", fontsize=9)
            axes.set_xlabel("latency, from connect to last byte")
        panels[0][0].set_ylabel("share of all requests answered")
        headline(figure, title)
        handles, labels = _all_handles(panels[0])
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(8, len(labels)), handlelength=1.6, columnspacing=1.2
        )
    return figure


def all_and_answered(storms: Sequence[pd.DataFrame], title: str) -> Figure:
    """The same storms twice: latency over all requests, and over the answered only, as a tool shows it that forgets.

    ``storms`` are connections, a row each.
    """
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 3.4))
        for number, storm in enumerate(storms):
            answered = storm[storm["outcome"] == "answered"]
            seconds = np.sort((answered["closed_us"] - answered["issued_us"]).to_numpy(float)) / 1e6
            counts = np.arange(1, len(seconds) + 1)
            thin: dict[str, Any] = {"linewidth": 1.1, "alpha": 0.8}
            only = "of the answered only" if number == 0 else None
            every = "of all requests" if number == 0 else None
            axes.step(seconds, counts / max(1, len(seconds)), color="#777777", linestyle="--", label=only, **thin)
            axes.step(seconds, counts / len(storm), color="#D55E00", label=every, **thin)
        percent_axis(axes, "y")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(left=0)
        axes.set_xlabel("latency, from connect to last byte, seconds")
        axes.set_ylabel("share answered within it")
        axes.legend(loc="upper left")
        headline(figure, title)
    return figure


def _where_curves_rise(runs: pd.DataFrame) -> tuple[int, int]:
    """Indices into :data:`GRID_MS` between which all curves do all of their rising."""
    rises = np.flatnonzero(np.any(np.diff(np.stack(runs["latency_shares"].to_list()), axis=1, prepend=0) > 0, axis=0))
    return (
        (max(0, int(rises[0]) - 1), min(len(GRID_MS) - 1, int(rises[-1]) + 2)) if len(rises) else (0, len(GRID_MS) - 1)
    )


def _all_handles(panels: Iterable[Axes]) -> tuple[list[Artist], list[str]]:
    found: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    return list(found.values()), list(found)
