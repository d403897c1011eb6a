"""All mitigations at a glance: a row for each, a panel for each measure, a mark for each storm."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from harness.page.style import (
    headline,
    log_time_axis,
    look,
    mark_unanswered,
    percent_axis,
    storm_style,
    unanswered_handle,
)

_REACH = 0.27
"""How far above and below the middle of its row the first and the last server stand."""
_MANY = 5
"""Panels, which leave each of them little room; more of them make a figure wider."""
_MARKS = ("o", "s", "^", "D", "v", "P")
"""Servers are told apart by mark as well as by colour."""


def all_mitigations(runs: pd.DataFrame, measures: Mapping[str, tuple[str, str]], title: str) -> Figure:
    """``runs`` has ``server``, ``variant``, whose first is the storm as it is, and the columns of ``measures``.

    ``measures`` has for each column its label and what it is: ``share``, ``ms``, ``rate`` or ``plain``. The dashed
    lines are each server's median without a mitigation; marks are hollow where the generator was the limit; a cross at
    the right edge is a quantile that lies among the unanswered.
    """
    variants = list(dict.fromkeys(runs["variant"]))
    servers = list(dict.fromkeys(runs["server"]))
    with storm_style():
        size = (max(7.2, 4.4 + 0.8 * len(measures)), 1.3 + 0.42 * len(variants))
        figure, panels = plt.subplots(1, len(measures), sharey=True, squeeze=False, figsize=size)
        for axes, (measure, (label, kind)) in zip(panels[0], measures.items(), strict=True):
            axes.set_xlabel(label)
            _scale(axes, kind, runs[measure])
            if kind == "ms" and len(measures) >= _MANY:
                least, most = np.log10(axes.get_xlim())
                decades = np.floor(most) - np.ceil(least) + 1
                axes.xaxis.set_major_locator(LogLocator(subs=(1,) if decades >= 2 else (1, 3), numticks=4))
            for place, server in enumerate(servers):
                storms = runs[runs["server"] == server]
                _draw(axes, storms, measure, variants, _offset(place, len(servers)), _MARKS[place % len(_MARKS)])
        panels[0][0].set_yticks(range(len(variants)), [str(variant) for variant in variants])
        panels[0][0].set_ylim(len(variants) - 0.45, -0.55)
        for axes in panels[0]:
            axes.axhline(0.5, color="#bbbbbb", linewidth=0.6)
        figure.legend(handles=_handles(runs, servers, list(measures)), loc="outside lower center", ncols=5)
        headline(figure, title)
    return figure


def _offset(place: int, servers: int) -> float:
    return 0.0 if servers == 1 else _REACH * (2 * place / (servers - 1) - 1)


def _draw(axes: Axes, storms: pd.DataFrame, measure: str, variants: list[str], offset: float, mark: str) -> None:
    colour, _ = look(storms["server"].iloc[0])
    untouched = storms.loc[storms["variant"] == variants[0], measure]
    if untouched.notna().any():
        axes.axvline(untouched.median(), color=colour, linestyle="--", linewidth=0.7, alpha=0.7)
    for variant, value, verdict in zip(storms["variant"], storms[measure], storms["generator"], strict=True):
        height = variants.index(variant) + offset
        if pd.isna(value):
            mark_unanswered(axes, height, colour)
            continue
        face = "white" if verdict == "limiting" else colour
        axes.plot(value, height, mark, color=colour, markerfacecolor=face, markersize=3.6, alpha=0.8)


def _scale(axes: Axes, kind: str, values: pd.Series) -> None:
    known = values.dropna()
    if kind == "share":
        axes.set_xlim(-0.05, 1.05)
        axes.set_xticks([0, 0.5, 1])
        percent_axis(axes, "x")
    elif kind == "ms" and len(known):
        log_time_axis(axes, max(float(known.min()) / 1.5, 0.1), float(known.max()) * 1.5)
        axes.tick_params(axis="x", labelsize=7)
    elif kind == "rate" and (known > 0).any():
        axes.set_xscale("log")
        axes.set_xlim(float(known[known > 0].min()) / 1.5, float(known.max()) * 1.5)
        axes.xaxis.set_major_locator(LogLocator(numticks=4))
        axes.xaxis.set_major_formatter(lambda value, position: f"{value:g}" if value < 1e3 else f"{value / 1e3:g} k")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis="x", labelsize=7)
    elif kind == "plain" and len(known):
        axes.set_xlim(0, 1.1 * float(np.max(known)))
        axes.locator_params(axis="x", nbins=3)
        axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.3g}" if value < 1e4 else f"{value / 1e3:g} k")


def _handles(runs: pd.DataFrame, servers: list[str], measures: list[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=look(server)[0], marker=_MARKS[place % len(_MARKS)], linestyle="none", label=server)
        for place, server in enumerate(servers)
    ]
    if (runs["generator"] == "limiting").any():
        hollow = Line2D([], [], marker="o", color="#444444", markerfacecolor="white", linestyle="none")
        hollow.set_label("generator the limit")
        handles.append(hollow)
    if runs[measures].isna().any(axis=None):
        handles.append(unanswered_handle())
    return handles
