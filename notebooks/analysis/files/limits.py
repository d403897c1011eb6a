"""Storms of each server under one limit and another: a row for each server, a panel for each measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from harness.page.style import percent_axis, storm_style

_COLOURS = ("#D55E00", "#0072B2", "#009E73")


def with_and_without(runs: pd.DataFrame, measures: Mapping[str, tuple[str, str]], title: str) -> Figure:
    """``runs`` has a column ``kind``, which names the rows, and ``limit``, which the colours tell apart.

    ``measures`` has for each column its label and what it is: ``share``, ``number`` or ``log``. A mark for each storm;
    a cross where the server ended in it.
    """
    kinds, limits = list(dict.fromkeys(runs["kind"])), list(dict.fromkeys(runs["limit"]))
    heights = {kind: len(kinds) - 1 - index for index, kind in enumerate(kinds)}
    colours = dict(zip(limits, _COLOURS, strict=False))
    with storm_style():
        figure, panels = plt.subplots(
            1, len(measures), sharey=True, squeeze=False, figsize=(7.2, 1.3 + 0.36 * len(kinds))
        )
        for axes, (column, (label, scale)) in zip(panels[0], measures.items(), strict=True):
            for (kind, limit), storms in runs.groupby(["kind", "limit"], sort=False, observed=True):
                place = heights[kind] + 0.2 * ((len(limits) - 1) / 2 - limits.index(limit))
                for ended, alike in storms.groupby(storms["server_ended"].notna()):
                    spread = np.linspace(-0.06, 0.06, len(alike)) if len(alike) > 1 else np.zeros(1)
                    mark = "x" if ended else "o"
                    axes.plot(alike[column], place + spread, mark, color=colours[limit], markersize=4, alpha=0.8)
            axes.set_xlabel(label)
            _SCALES[scale](axes, runs[column])
        panels[0][0].set_yticks(list(heights.values()), list(heights))
        panels[0][0].set_ylim(-0.6, len(kinds) - 0.4)
        handles = [Line2D([], [], color=colours[limit], marker="o", linestyle="none", label=limit) for limit in limits]
        if runs["server_ended"].notna().any():
            handles.append(Line2D([], [], color="#444444", marker="x", linestyle="none", label="the server ended"))
        figure.legend(handles=handles, loc="outside lower center", ncols=4)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure


def _share(axes: Axes, values: pd.Series) -> None:
    axes.set_xlim(-0.06, 1.06)
    axes.set_xticks([0, 0.5, 1])
    percent_axis(axes, "x")


def _number(axes: Axes, values: pd.Series) -> None:
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")


def _log(axes: Axes, values: pd.Series) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.6g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


_SCALES: Mapping[str, Callable[[Axes, pd.Series], None]] = {"share": _share, "number": _number, "log": _log}
