"""Every condition that was tried in one picture: a row for each, a mark for each run."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.attacks import LAB
from analysis.published.demand import driven
from harness.page.style import headline, percent_axis, storm_style

FAILURE_LOOK: dict[str, tuple[str, str]] = {
    "none": ("#0072B2", "o"),
    "refused on [::1]": ("#800000", "v"),
    "refused": ("#D55E00", "s"),
    "client_out_of_files": ("#525252", "X"),
    "client_out_of_ports": ("#969696", "P"),
    "timed_out": ("#F0E442", "d"),
    "connect_timeout": ("#E69F00", "D"),
    "answer_timeout": ("#CC79A7", "^"),
    "closed_early": ("#56B4E9", "<"),
    "reset": ("#009E73", ">"),
}
"""Colour and mark of what most failures were; ``none`` where as good as all were answered."""
_OTHER = ("#000000", "*")
_FEW = 0.005
_GREY, _LESS = "#777777", "fewer requests sent than wanted"
_INCH_A_ROW = 0.19


def answered_by_condition(
    conditions: pd.DataFrame,
    title: str,
    band: tuple[tuple[float, float], str],
    lines: Mapping[float, str] = MappingProxyType({}),
) -> Figure:
    """``conditions`` as in :mod:`published.conditions`; of shares a ``band`` is shaded, and at some stand lines.

    What the band and each line mean is said in the legend. Within a group the rows keep their order; the colour says
    what most of the failures were, and a hollow mark that the tool sent far fewer requests than it was told to.
    """
    rows = list(conditions.to_dict("records"))
    groups = list(dict.fromkeys(row["group"] for row in rows))
    heights, labels, headings = [], [], []
    height = 0.0
    for group in groups:
        headings.append((height, group))
        for row in (each for each in rows if each["group"] == group):
            height -= 1
            heights.append((height, row))
            labels.append(_label(row))
        height -= 1.4
    seen: dict[str, tuple[str, str]] = {}
    less: Line2D | None = None
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 1.3 - _INCH_A_ROW * height))
        said: list[Artist] = [axes.axvspan(*band[0], color="#D55E00", alpha=0.12, linewidth=0, label=band[1])]
        for share, meaning in lines.items():
            said.append(axes.axvline(share, color="#777777", linewidth=0.8, linestyle=":", label=meaning))
        for at, row in heights:
            if not driven(row["requests"], row["wanted"]):
                axes.plot(row["shares"], [at] * len(row["shares"]), "o", markersize=4.2, color=_GREY, mfc="none")
                less = Line2D([], [], marker="o", color=_GREY, mfc="none", linestyle="none", label=_LESS)
                continue
            failure = next(iter(row["failures"]), "none") if sum(row["failures"].values()) > _FEW else "none"
            colour, mark = seen.setdefault(failure, FAILURE_LOOK.get(failure, _OTHER))
            axes.plot(row["shares"], [at] * len(row["shares"]), mark, markersize=4.2, color=colour, alpha=0.75, mew=0)
        axes.set_yticks([at for at, _ in heights], labels, fontsize=7)
        for at, group in headings:
            axes.text(
                -0.01,
                at,
                group,
                transform=axes.get_yaxis_transform(),
                ha="right",
                va="center",
                fontsize=7.5,
                fontweight="bold",
            )
        axes.set_ylim(height + 0.6, 0.8)
        axes.set_xlim(-0.03, 1.03)
        percent_axis(axes, "x")
        axes.set_xlabel("share of all requests that were answered")
        axes.tick_params(axis="y", length=0)
        headline(figure, title)
        handles = [
            Line2D([], [], marker=mark, color=colour, linestyle="none", label=_legend(name))
            for name, (colour, mark) in seen.items()
        ]
        figure.legend(
            handles=[*handles, *([less] if less else []), *said], loc="outside lower center", ncols=3, fontsize=7.5
        )
    return figure


def _label(row: Mapping[Any, Any]) -> str:
    """What was done: server. The tool is named in full, once."""
    driver, condition = str(row["driven by"]), str(row["condition"])
    family = driver.partition("-")[0]
    if driver == LAB or driver in condition:
        named = condition
    elif condition.startswith(family):
        named = condition.replace(family, driver, 1)
    else:
        named = f"{condition}, {driver}"
    return f"{named}: {row['server']}"


def _legend(name: str) -> str:
    return "as good as all answered" if name == "none" else f"most failures: {name}"
