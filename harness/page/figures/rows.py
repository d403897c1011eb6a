"""The one figure of comparisons: a row for each kind of storm, a panel for each measure, a mark for each storm."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

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

Kind = Literal["share", "ms", "log ms", "count", "log", "number"]
"""How a panel's axis is cut: shares from 0 to 100 %, and others from zero, or logarithmic."""
UNANSWERED: tuple[Kind, ...] = ("share", "ms", "log ms")
"""Of these kinds what is null lies among the unanswered; of others it was not measured."""
PANELS: Mapping[str, tuple[str, Kind]] = {
    "success_rate": ("answered", "share"),
    "first_try_share": ("answered without\nany retransmission", "share"),
    "throughput_per_s": ("answers a second", "count"),
    "p50_ms": ("median latency", "log ms"),
    "p99_ms": ("99th percentile of latency", "log ms"),
}
"""What columns of the table of runs are called on an axis."""
DARK, FIRST, CHANGED = "#444444", "#D55E00", "#0072B2"
_MARKS = ("o", "s", "^", "D", "v", "P")
_COLOURS = (FIRST, CHANGED, "#009E73")
_REACH, _SPREAD = 0.27, 0.06
"""How far from the middle of its row the first series stands, and how far storms of one series lie apart."""


@dataclass(frozen=True, slots=True)
class Looks:
    """By which column marks differ, and how: value → colour, value → mark; what no mapping has is dark and round."""

    column: str
    colours: Mapping[Any, str]
    marks: Mapping[Any, str]

    @classmethod
    def of(cls, runs: pd.DataFrame, column: str) -> Looks:
        """Those of a column's values in their order; of servers, their own colours."""
        values = list(dict.fromkeys(runs[column]))
        if column == "server":
            return cls(column, {value: look(value)[0] for value in values}, dict(zip(values, _MARKS, strict=False)))
        return cls(column, dict(zip(values, _COLOURS, strict=False)), {})


def layout(names: Sequence[Any], panels: int, row_in: float = 0.36, width_in: float = 7.2) -> tuple[Figure, list[Axes]]:
    """An empty figure with a row for each name, the first on top, and that many panels side by side."""
    size = (width_in, 1.2 + row_in * len(names))
    figure, grid = plt.subplots(1, panels, sharey=True, squeeze=False, figsize=size)
    axes: list[Axes] = list(grid[0])
    axes[0].set_yticks(range(len(names)), [str(name) for name in names])
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    return figure, axes


def rows_and_panels(
    runs: pd.DataFrame,
    panels: Mapping[str, tuple[str, Kind]],
    title: str,
    *,
    row: str = "variant",
    series: str | None = None,
    reference: Literal["median", "range"] | None = None,
    speeds: Sequence[str] = (),
) -> Figure:
    """``runs`` with a mark for each, in the row of its value of the column ``row``.

    ``panels`` has for each column its label and how its axis is cut. Within a row the values of ``series`` stand below
    each other and look different; where rows are servers, colours are theirs and marks those of the series. Without a
    series the first row looks different from the others, which are changes to it. ``reference`` shows through all rows
    what the first one has: the median of each series, or its range and median. Marks of ``speeds`` are hollow where the
    generator was the limit, crosses where the server ended in the storm (column ``server_ended``) and the series is its
    limit; a cross at the right edge is a quantile that lies among the unanswered.
    """
    names = list(dict.fromkeys(runs[row]))
    looks = Looks(row, {name: FIRST if name == names[0] else CHANGED for name in names}, {})
    if series is not None:
        looks = Looks.of(runs, series)
    if row == "server" and series == "cpu":
        looks = Looks("server", Looks.of(runs, "server").colours, {})
    kinds = list(dict.fromkeys(runs[series])) if series is not None else [None]
    by_regime = dict(zip(kinds, ("o", "D"), strict=False)) if series not in (None, looks.column) else {}
    with storm_style():
        figure, axes = layout(names, len(panels), width_in=max(7.2, 4.4 + 0.8 * len(panels)))
        for panel, (column, (label, kind)) in zip(axes, panels.items(), strict=True):
            panel.set_xlabel(label)
            _SCALES[kind](panel, runs[column].dropna().astype(float))
            if len(panels) > 4:
                panel.tick_params(axis="x", labelsize=7)
            if reference is not None:
                _refer(panel, runs[runs[row] == names[0]], column, looks, series, reference)
            for (name, one), storms in _groups(runs, row, series):
                middle = names.index(name) + _offset(kinds.index(one), len(kinds))
                for (_, storm), apart in zip(storms.iterrows(), _apart(len(storms), series), strict=True):
                    colour = looks.colours.get(storm[looks.column], DARK)
                    mark = by_regime.get(one) or looks.marks.get(storm[looks.column], "o")
                    ended = series == "limit" and pd.notna(storm["server_ended"])
                    if pd.isna(storm[column]) and kind in UNANSWERED:
                        mark_unanswered(panel, middle + apart, colour)
                        continue
                    hollow = column in speeds and storm["generator"] == "limiting"
                    panel.plot(
                        storm[column],
                        middle + apart,
                        "x" if ended else mark,
                        markersize=4,
                        color=colour,
                        markerfacecolor="white" if hollow else colour,
                        alpha=0.8,
                    )
        timed = [column for column, (_, kind) in panels.items() if kind in UNANSWERED]
        handles = _handles(runs, timed, looks, series, by_regime, bool({*speeds} & {*panels}))
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=5)
        headline(figure, title)
    return figure


def _groups(runs: pd.DataFrame, row: str, series: str | None) -> Any:
    if series is None:
        return (((name, None), storms) for name, storms in runs.groupby(row, sort=False, observed=True))
    return runs.groupby([row, series], sort=False, observed=True)


def _offset(place: int, many: int) -> float:
    return 0.0 if many == 1 else _REACH * (2 * place / (many - 1) - 1)


def _apart(storms: int, series: str | None) -> Any:
    """Where storms of the same kind stand, so that equal ones do not cover each other."""
    reach = _SPREAD if series is not None else 0.22
    return np.linspace(-reach, reach, storms) if storms > 1 else np.zeros(1)


def _refer(
    panel: Axes, first: pd.DataFrame, column: str, looks: Looks, series: str | None, how: Literal["median", "range"]
) -> None:
    edge = panel.get_xlim()[1]
    if how == "range":
        reached = first[column].fillna(edge)
        panel.axvspan(reached.min(), reached.max(), color=FIRST, alpha=0.15, linewidth=0)
        panel.axvline(min(median_of_runs(first[column]), edge), color=FIRST, linewidth=0.8)
        return
    panel.axhline(0.5, color="#bbbbbb", linewidth=0.6)
    for value, storms in first.groupby(series or looks.column, sort=False, observed=True):
        if storms[column].notna().any():
            colour = looks.colours.get(value, DARK)
            panel.axvline(storms[column].median(), color=colour, linestyle="--", linewidth=0.7, alpha=0.7)


def _handles(
    runs: pd.DataFrame,
    timed: list[str],
    looks: Looks,
    series: str | None,
    by_regime: Mapping[Any, str],
    hollow: bool,
) -> list[Line2D]:
    def mark(shape: str, label: str, colour: str = DARK, face: str | None = None) -> Line2D:
        shown = colour if face is None else face
        return Line2D([], [], marker=shape, color=colour, markerfacecolor=shown, linestyle="none", label=label)

    handles = [mark(shape, f"{regime} CPUs") for regime, shape in by_regime.items()]
    if looks.column == series:
        handles += [mark(looks.marks.get(v, "o"), str(v), colour) for v, colour in looks.colours.items()]
    if hollow and (runs["generator"] == "limiting").any():
        handles.append(mark("o", "hollow: generator the limit", face="white"))
    if series == "limit" and runs["server_ended"].notna().any():
        handles.append(mark("x", "the server ended"))
    elif runs[timed].isna().any(axis=None):
        handles.append(unanswered_handle())
    return handles


def share_scale(panel: Axes, values: pd.Series) -> None:
    panel.set_xlim(-0.06, 1.06)
    panel.set_xticks([0, 0.5, 1])
    percent_axis(panel, "x")


def _thousands(value: float, position: object) -> str:
    return f"{value / 1000:g} k" if value >= 1e4 else f"{value:,.6g}"


def _from_zero(panel: Axes, values: pd.Series, form: Callable[[float, object], str]) -> None:
    most = max(float(values.max()) if len(values) else 0.0, 1.0)
    panel.set_xlim(-0.06 * most, 1.12 * most)
    panel.locator_params(axis="x", nbins=3)
    panel.xaxis.set_major_formatter(form)


def _log_ms(panel: Axes, values: pd.Series) -> None:
    if len(values):
        log_time_axis(panel, max(float(values.min()) / 1.5, 0.1), float(values.max()) * 1.5)
        low, high = np.log10(panel.get_xlim())
        subs = (1.0,) if np.floor(high) - np.ceil(low) >= 1 else (1.0, 3.0)
        panel.xaxis.set_major_locator(LogLocator(subs=subs, numticks=4))


def _log(panel: Axes, values: pd.Series) -> None:
    positive = values[values > 0]
    if len(positive):
        panel.set_xscale("log")
        panel.set_xlim(float(positive.min()) / 1.5, float(positive.max()) * 1.5)
        panel.xaxis.set_major_locator(LogLocator(numticks=3))
        panel.xaxis.set_major_formatter(_thousands)
        panel.xaxis.set_minor_formatter(NullFormatter())


_SCALES: Mapping[Kind, Callable[[Axes, pd.Series], None]] = {
    "share": share_scale,
    "ms": lambda panel, values: _from_zero(panel, values, lambda value, _: label_ms(value) if value > 0 else "0"),
    "log ms": _log_ms,
    "count": lambda panel, values: _from_zero(panel, values, _thousands),
    "log": _log,
    "number": lambda panel, values: _from_zero(panel, values, lambda value, _: f"{value:,.3g}"),
}
