"""A measure over two factors: the controlled plane of backlog and stall, with the boundary that theory draws in it."""

from __future__ import annotations

from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from numpy.typing import NDArray

from harness.plots.style import label_ms, storm_style

_DARK = 0.55
"""Above this share of the scale the writing in a cell is white."""


def planes(
    panels: dict[str, pd.DataFrame], rate_per_s: float, title: str, texts: dict[str, Callable[[float], str]]
) -> Figure:
    """A panel for each measure: rows of its frame are backlogs, columns stalls in ms; NaN is written as unanswered.

    The line is where ``rate × stall`` fills the queue: backlog + 1.
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
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def _draw(axes: Axes, values: pd.DataFrame, text: Callable[[float], str]) -> None:
    stalls, backlogs = values.columns.to_numpy(float), values.index.to_numpy(float)
    numbers = values.to_numpy(float)
    shown = np.log10(np.maximum(numbers, 1e-3)) if np.nanmax(numbers) > 1 else numbers
    low, high = float(np.nanmin(shown)), float(np.nanmax(shown))
    scale = Normalize(low, high if high > low else low + 1)
    axes.pcolormesh(
        _edges(stalls), _edges(backlogs), shown, cmap="Blues", norm=scale, edgecolors="white", linewidth=0.5
    )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for row, backlog in enumerate(backlogs):
        for column, stall in enumerate(stalls):
            value = numbers[row, column]
            dark = not np.isnan(value) and scale(shown[row, column]) > _DARK
            label = "never" if np.isnan(value) else text(value)
            axes.text(stall, backlog, label, ha="center", va="center", fontsize=6.5, color="white" if dark else "black")
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
