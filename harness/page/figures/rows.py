"""Runs beside each other: a row for each kind of run, a panel for each measure, a mark for each run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from harness.page.style import (
    headline,
    label_ms,
    log_time_axis,
    look,
    mark_unanswered,
    percent_axis,
    storm_style,
    unanswered_handle,
)
from harness.thought.stats import median_of_runs

_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7")
_BASELINE, _CHANGED = _COLOURS[:2]
_MARKS = ("o", "s", "^", "D", "v", "P")
_REACH = 0.27
"""How far from the middle of its row the outermost marks stand."""
_MANY = 5
"""Panels, which leave each of them little room; more of them make a figure wider."""


def compare_rows(
    runs: pd.DataFrame,
    panels: Mapping[str, tuple[str, str]],
    title: str,
    *,
    row: str = "variant",
    group: str | None = None,
    baseline: bool = False,
) -> Figure:
    """A row for each value of the column ``row``, a panel for each column in ``panels``, a mark for each of ``runs``.

    ``panels`` has for each column its label and unit: ``share``; ``ms`` or ``linear ms`` (latencies, over decades or
    from 0); ``log`` or ``plain`` (counts and rates likewise). Colour and mark tell the values of the column ``group``
    apart. With ``baseline`` the first row is what the others are compared with: dashed lines are its medians by group;
    without groups a band is its range.

    A mark is hollow where the generator was the limit, and an X where the server ended in the run. A latency that lies
    among the unanswered stands at the right edge as a cross.
    """
    rows = list(dict.fromkeys(runs[row]))
    groups = list(dict.fromkeys(runs[group])) if group else [None]
    looks = {name: (_colour(group, name, place), _MARKS[place % len(_MARKS)]) for place, name in enumerate(groups)}
    with storm_style():
        size = (max(7.2, 4.4 + 0.8 * len(panels)), 1.3 + 0.38 * len(rows))
        figure, grid = plt.subplots(1, len(panels), sharey=True, squeeze=False, figsize=size)
        for axes, (column, (label, unit)) in zip(grid[0], panels.items(), strict=True):
            axes.set_xlabel(label)
            _scale(axes, unit, runs[column], crowded=len(panels) >= _MANY)
            for place, (name, (colour, mark)) in enumerate(looks.items()):
                alike = runs[runs[group] == name] if group else runs
                if baseline:
                    _baseline(axes, alike.loc[alike[row] == rows[0], column], colour, unit, band=group is None)
                for height, value in enumerate(rows):
                    changed = group is None and baseline and height > 0
                    middle = height + _REACH * (2 * place + 1 - len(groups)) / len(groups)
                    spread = middle + 0.8 * _REACH / len(groups) * _steps((alike[row] == value).sum())
                    for at, run in zip(spread, alike[alike[row] == value].to_dict("records"), strict=True):
                        _mark(axes, run, column, unit, at, _CHANGED if changed else colour, mark)
        grid[0][0].set_yticks(range(len(rows)), [str(value) for value in rows])
        grid[0][0].set_ylim(len(rows) - 0.4, -0.6)
        handles = _handles(
            runs, looks if group else {}, [name for name, (_, unit) in panels.items() if unit.endswith("ms")]
        )
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)))
        headline(figure, title)
    return figure


def _colour(group: str | None, name: Any, place: int) -> str:
    return look(name)[0] if group == "server" else _COLOURS[place % len(_COLOURS)]


def _steps(count: int) -> Any:
    return np.linspace(-1, 1, count) if count > 1 else np.zeros(count)


def _baseline(axes: Axes, values: pd.Series, colour: str, unit: str, *, band: bool) -> None:
    """Latencies among the unanswered reach to the right edge, where their crosses stand."""
    edge = axes.get_xlim()[1]
    known = values.fillna(edge) if unit.endswith("ms") else values.dropna()
    if known.empty:
        return
    if band:
        axes.axvspan(known.min(), known.max(), color=colour, alpha=0.15, linewidth=0)
    median = median_of_runs(values) if unit.endswith("ms") else known.median()
    axes.axvline(min(median, edge), color=colour, linestyle="--", linewidth=0.7, alpha=0.7)


def _mark(axes: Axes, run: Mapping[Any, Any], column: str, unit: str, at: float, colour: str, mark: str) -> None:
    if not pd.isna(run[column]):
        ended = not pd.isna(run.get("server_ended"))
        face = "white" if run.get("generator") == "limiting" else colour
        axes.plot(run[column], at, "X" if ended else mark, color=colour, markerfacecolor=face, markersize=4, alpha=0.8)
    elif unit.endswith("ms"):
        mark_unanswered(axes, at, colour)


def _scale(axes: Axes, unit: str, values: pd.Series, *, crowded: bool) -> None:
    known = values.dropna().astype(float)
    most = float(known.max()) if len(known) else 0.0
    if unit == "share":
        axes.set_xlim(-0.06, 1.06)
        axes.set_xticks([0, 0.5, 1])
        percent_axis(axes, "x")
    elif unit == "plain" or most <= 0:
        axes.set_xlim(-0.06 * (most or 1), 1.12 * (most or 1))
        axes.locator_params(axis="x", nbins=3)
        axes.xaxis.set_major_formatter(lambda value, position: _plain(value))
    elif unit == "linear ms":
        axes.set_xlim(0, 1.12 * most)
        axes.locator_params(axis="x", nbins=3)
        axes.xaxis.set_major_formatter(lambda value, position: label_ms(value) if value else "0")
    else:
        low, high = max(float(known[known > 0].min()) / 1.5, 1e-3), most * 1.5
        decades = np.floor(np.log10(high)) - np.ceil(np.log10(low)) + 1
        log_time_axis(axes, low, high)
        if crowded or unit == "log":
            axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades >= 2 else (1, 3), numticks=4))
        if unit == "log":
            axes.xaxis.set_major_formatter(lambda value, position: _plain(value))
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", labelsize=7)


def _plain(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value / 1000:,g} k"


def _handles(runs: pd.DataFrame, looks: Mapping[Any, tuple[str, str]], latencies: list[str]) -> list[Line2D]:
    def handle(mark: str, label: str, colour: str = "#444444", face: str | None = None) -> Line2D:
        return Line2D([], [], marker=mark, color=colour, markerfacecolor=face or colour, linestyle="none", label=label)

    handles = [handle(mark, str(name), colour) for name, (colour, mark) in looks.items()]
    if "generator" in runs and (runs["generator"] == "limiting").any():
        handles.append(handle("o", "generator the limit", face="white"))
    if "server_ended" in runs and runs["server_ended"].notna().any():
        handles.append(handle("X", "the server ended"))
    if runs[latencies].isna().any(axis=None):
        handles.append(unanswered_handle())
    return handles
