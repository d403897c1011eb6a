"""When answers came, and what began each bunch of them: the picture in which pulses are seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.overflow.pulses import FIRST, REQUEST, SERVER, SYN, Window
from harness.page.style import headline, storm_style

STEP_S = 0.05
MARKS: dict[str, tuple[str, str]] = {
    FIRST: ("#000000", "o"),
    SYN: ("#D55E00", "v"),
    REQUEST: ("#009E73", "^"),
    SERVER: ("#CC79A7", "D"),
}
"""Colour and mark of what began a bunch."""
LABELS = {
    FIRST: "clients that sent once",
    SYN: "SYNs sent again",
    REQUEST: "requests of ghosts sent again",
    SERVER: "the server itself",
}


def answers_in_time(panels: Mapping[str, tuple[pd.DataFrame, pd.DataFrame, Sequence[Window]]], title: str) -> Figure:
    """A panel for each storm: its answers in each 50 ms, and a mark where a bunch of them begins.

    Of each storm the rows of its connections, its bunches as :func:`pulses.explained` has them, and when SYNs are due
    to be sent again by its kernel's schedule, which is dotted.
    """
    last_s = max(float(found["end_s"].max()) for _, found, _ in panels.values())
    with storm_style():
        figure, grid = plt.subplots(len(panels), 1, sharex=True, squeeze=False, figsize=(7.2, 1.0 + 1.25 * len(panels)))
        for axes, (name, (lives, found, schedule)) in zip(grid[:, 0], panels.items(), strict=True):
            answered_us = lives.loc[lives["outcome"] == "answered", "closed_us"] - lives["issued_us"].min()
            edges = np.arange(0, last_s + 2 * STEP_S, STEP_S)
            counts, _ = np.histogram(answered_us / 1e6, edges)
            axes.stairs(counts, edges, fill=True, color="#0072B2", linewidth=0)
            top = 1.35 * float(counts.max(initial=1))
            for window in schedule:
                if window.due_s < last_s:
                    axes.axvline(window.due_s, color="#000000", linestyle=":", linewidth=0.8, zorder=0)
            for way, begun in found.groupby("begun_by"):
                colour, mark = MARKS[str(way)]
                axes.plot(begun["begin_s"], [0.88 * top] * len(begun), mark, color=colour, markersize=4.5)
            axes.set_ylim(0, top)
            axes.set_ylabel("answers")
            axes.set_title(name, fontweight="normal", fontsize=9)
            axes.grid(visible=False, axis="x")
        grid[-1, 0].set_xlabel("seconds from the start of the storm")
        grid[-1, 0].set_xlim(-0.01 * last_s, 1.02 * last_s)
        shown = {str(way) for _, found, _ in panels.values() for way in found["begun_by"]}
        handles = [
            Line2D([], [], color=colour, marker=mark, linestyle="", markersize=4.5)
            for way, (colour, mark) in MARKS.items()
            if way in shown
        ]
        handles.append(Line2D([], [], color="#000000", linestyle=":", linewidth=0.8))
        labels = [f"begun by {LABELS[way]}" for way in MARKS if way in shown]
        figure.legend(handles, [*labels, "SYNs due again"], loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure
