"""A measure over two factors: the controlled plane of backlog and stall, with the boundary that theory draws in it."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from harness.page.style import headline, label_ms, storm_style

_DARK = 0.55
"""Above this share of the scale the writing in a cell is white."""


def planes(
    panels: dict[str, pd.DataFrame], rate_per_s: float, title: str, texts: dict[str, Callable[[float], str]]
) -> Figure:
    """A panel for each measure: rows of its frame are backlogs, columns stalls in ms.

    What is infinite or NaN lies among the unanswered. The line is where ``rate × stall`` fills the queue: backlog + 1.
    """
    with storm_style():
        rows = -(-len(panels) // 2)
        figure, grid = plt.subplots(rows, 2, sharex=True, sharey=True, squeeze=False, figsize=(7.2, 0.6 + 2.9 * rows))
        for axes, (name, values) in zip(grid.flat, panels.items(), strict=False):
            _draw(axes, values, texts[name])
            _draw_boundary(axes, values, rate_per_s)
            axes.set_title(name, fontweight="normal", fontsize=9)
        for axes in grid[-1]:
            axes.set_xlabel("stall")
        for axes in grid[:, 0]:
            axes.set_ylabel("backlog")
        headline(figure, title)
    return figure


def _draw(axes: Axes, values: pd.DataFrame, text: Callable[[float], str]) -> None:
    stalls, backlogs = values.columns.to_numpy(float), values.index.to_numpy(float)
    numbers = values.replace(np.inf, np.nan).to_numpy(float)
    shown = np.log10(np.maximum(numbers, 1e-3)) if np.nanmax(numbers, initial=0) > 1 else numbers
    known = shown[~np.isnan(shown)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    scale, colours = Normalize(low, high if high > low else low + 1), plt.get_cmap("Blues")
    axes.pcolormesh(
        _edges(stalls), _edges(backlogs), shown, cmap=colours, norm=scale, edgecolors="white", linewidth=0.5
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for row, backlog in enumerate(backlogs):
        for column, stall in enumerate(stalls):
            value = numbers[row, column]
            unanswered = np.isnan(value)
            filled = 0.0 if unanswered else float(scale(shown[row, column]))
            axes.text(
                stall,
                backlog,
                "never" if unanswered else text(value),
                ha="center",
                va="center",
                fontsize=6.5,
                color="white" if filled > _DARK else "black",
                # The line of the boundary does not run through a number.
                path_effects=[withStroke(linewidth=1.8, foreground="white" if unanswered else colours(filled))],
            )
    axes.xaxis.set_major_locator(FixedLocator(list(stalls)))
    axes.xaxis.set_major_formatter(FixedFormatter([label_ms(stall) for stall in stalls]))
    axes.yaxis.set_major_locator(FixedLocator(list(backlogs)))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{backlog:.0f}" for backlog in backlogs]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(visible=False)


def _draw_boundary(axes: Axes, values: pd.DataFrame, rate_per_s: float) -> None:
    stalls = _edges(values.columns.to_numpy(float))
    line = np.geomspace(stalls[0], stalls[-1], 100)
    axes.plot(line, np.maximum(rate_per_s * line / 1000 - 1, 1e-9), color="#D55E00", linewidth=1.6)
    backlogs = _edges(values.index.to_numpy(float))
    axes.set_xlim(stalls[0], stalls[-1])
    axes.set_ylim(backlogs[0], backlogs[-1])


def _edges(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Borders between cells on a logarithmic axis: half-way, and as far out at both ends."""
    logs = np.log(centres)
    if len(logs) == 1:
        return np.asarray(centres[0] * np.array([0.5, 2.0]))
    middle = (logs[1:] + logs[:-1]) / 2
    return np.asarray(np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]])))
