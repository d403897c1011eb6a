"""The same requests over fewer and fewer connections: a panel for each measure, a line for each stack."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from analysis.mitigations.policies import HTTP2, PLAIN, POOL
from harness.page.style import headline, label_ms, look, percent_axis, storm_style, unanswered_handle

MARKS = {POOL: "o", HTTP2: "s", PLAIN: "*"}
_SPREAD = 1.08
"""Factor between neighbouring stacks on the axis of connections, so that their marks do not cover each other."""
_APART = 8.0
"""The plain storm stands this factor to the right of a pool of its size, so that there is room for both labels."""


def over_fewer_connections(runs: pd.DataFrame, measures: Mapping[str, tuple[str, str]], title: str) -> Figure:
    """``runs`` as from :func:`policies.over_connections`; ``measures`` has for each column its label and its
    unit: ``share``, ``ms`` or ``plain``.

    A mark for each storm, lines join the medians of pools and of HTTP/2; a star is the plain storm. Marks of times are
    hollow where the generator was the limit; at the upper edge a cross is a quantile among the unanswered.
    """
    servers = list(dict.fromkeys(runs["server"]))
    columns = 2
    rows = -(-len(measures) // columns)
    with storm_style():
        figure, grid = plt.subplots(rows, columns, sharex=True, squeeze=False, figsize=(7.2, 0.9 + 2.3 * rows))
        for axes, (measure, (label, unit)) in zip(grid.flat, measures.items(), strict=False):
            for place, server in enumerate(servers):
                shift = _SPREAD ** (place - (len(servers) - 1) / 2)
                for over, storms in runs[runs["server"] == server].groupby("over"):
                    _draw(axes, storms, measure, server, str(over), shift, timed=unit == "ms")
            axes.set_ylabel(label)
            _scale(axes, unit)
        for axes in grid.flat[len(measures) :]:
            axes.set_visible(False)
        sizes = sorted(set(runs.loc[runs["over"] != PLAIN, "pool"]))
        plain = sorted({size * _APART for size in runs.loc[runs["over"] == PLAIN, "pool"]})
        for axes in grid.flat:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(FixedLocator([*sizes, *plain]))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.set_xticks([*sizes, *plain], [*(f"{size:,}" for size in sizes), *("each" for _ in plain)])
            axes.tick_params(axis="x", labelsize=7, rotation=45)
        for axes in grid[-1]:
            axes.set_xlabel("connections")
        handles = _handles(runs, servers)
        if runs[[measure for measure, (_, unit) in measures.items() if unit == "ms"]].isna().any(axis=None):
            handles.append(unanswered_handle())
        figure.legend(handles=handles, loc="outside lower center", ncols=max(len(servers), 4))
        headline(figure, title)
    return figure


def _draw(axes: Axes, storms: pd.DataFrame, measure: str, server: str, over: str, shift: float, *, timed: bool) -> None:
    colour, _ = look(server)
    place = storms["pool"] * shift * (_APART if over == PLAIN else 1.0)
    if over != PLAIN:
        medians = storms.groupby("pool")[measure].median()
        style = "-" if over == POOL else "--"
        axes.plot(medians.index * shift, medians, color=colour, linestyle=style, linewidth=0.9, alpha=0.7)
    for where, value, verdict in zip(place, storms[measure], storms["generator"], strict=True):
        if pd.isna(value):
            if timed:  # of anything else it was not measured, as where a server ended first
                axes.plot(
                    where, 1, "x", color=colour, transform=axes.get_xaxis_transform(), clip_on=False, markersize=5
                )
            continue
        face = "white" if timed and verdict == "limiting" else colour
        size = 6.5 if over == PLAIN else 4
        axes.plot(where, value, MARKS[over], color=colour, markerfacecolor=face, markersize=size, alpha=0.8)


def _scale(axes: Axes, unit: str) -> None:
    if unit == "share":
        percent_axis(axes, "y")
        axes.set_ylim(-0.05, 1.05)
        return
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    if unit == "ms":
        axes.yaxis.set_major_formatter(lambda value, position: label_ms(value))
    else:
        axes.yaxis.set_major_formatter(lambda value, position: f"{value:,.3g}")


def _handles(runs: pd.DataFrame, servers: list[str]) -> list[Artist]:
    """Stacks are patches of colour, ways of connecting are lines with marks: neither looks like one of the other."""
    dark: dict[str, Any] = {"color": "#999999", "markersize": 4.5}
    handles: list[Artist] = [Patch(color=look(name)[0], label=name) for name in servers]
    lines: dict[str, dict[str, Any]] = {
        POOL: {"linestyle": "-"},
        HTTP2: {"linestyle": "--"},
        PLAIN: {"linestyle": "none"},
    }
    handles += [
        Line2D([], [], marker=MARKS[over], label=over, **lines[over], **dark)
        for over in MARKS
        if (runs["over"] == over).any()
    ]
    if (runs["generator"] == "limiting").any():
        handles.append(
            Line2D([], [], marker="o", linestyle="none", markerfacecolor="white", label="generator the limit", **dark)
        )
    return handles
