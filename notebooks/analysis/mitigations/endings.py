"""How requests end: for each way of meeting a load, who is answered, who is not and how, and what was in vain."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from analysis.mitigations.ways import TURNED_AWAY
from harness.page.style import headline, percent_axis, storm_style

_ENDINGS = {
    "success_rate": ("answered", "#0072B2", ""),
    "turned_away": (f"turned away: {', '.join(TURNED_AWAY)}", "#E69F00", "///"),
    "cut_off": ("refused, reset, closed early", "#CC79A7", "..."),
    "timed_out": ("timed out", "#D55E00", "xxx"),
    "lost_otherwise": ("other errors", "#bdbdbd", ""),
}
_GOODPUT, _MADE = "#0072B2", "#444444"


def how_requests_end(runs: pd.DataFrame, title: str) -> Figure:
    """``runs`` of :func:`ways.endings` with ``variant``: a row for each, means of shares over storms.

    On the right marks for each storm: good answers a second, and those that the server made, in time or not, or how
    many at the least.
    """
    variants = list(dict.fromkeys(runs["variant"]))
    shares = runs.groupby("variant", sort=False, observed=True)[list(_ENDINGS)].mean()
    shown = {name: look for name, look in _ENDINGS.items() if (shares[name] >= 0.0005).any()}
    with storm_style():
        size = (7.2, 1.4 + 0.27 * len(variants))
        figure, (left, right) = plt.subplots(1, 2, sharey=True, width_ratios=(3, 2), figsize=size)
        begun = pd.Series(0.0, index=shares.index)
        for name, (_, colour, hatch) in shown.items():
            widths = shares[name]
            left.barh(
                range(len(variants)),
                widths[variants],
                left=begun[variants],
                color=colour,
                hatch=hatch,
                edgecolor="white",
            )
            begun += widths
        _speeds(right, runs, variants)
        left.set_yticks(range(len(variants)), [str(variant) for variant in variants])
        left.set_ylim(len(variants) - 0.4, -0.6)
        left.set_xlim(0, 1)
        percent_axis(left, "x")
        left.set_xlabel("of all requests, means over storms")
        handles: list[Patch | Line2D] = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="white", label=label)
            for label, colour, hatch in shown.values()
        ]
        handles += [
            Line2D([], [], marker="o", color=_GOODPUT, linestyle="none", label="goodput"),
            Line2D([], [], marker="|", color=_MADE, linestyle="none", label="throughput: answers the server made"),
        ]
        if runs["made_at_least"].any():
            handles.append(Line2D([], [], marker=">", color=_MADE, linestyle="none", markersize=4, label="at least"))
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure


def _speeds(axes: Axes, runs: pd.DataFrame, variants: list[str]) -> None:
    for variant, good, made, least in runs[["variant", "good_per_s", "made_per_s", "made_at_least"]].to_numpy():
        place = variants.index(variant)
        if pd.notna(made):
            axes.plot(made, place, ">" if least else "|", color=_MADE, markersize=4 if least else 9)
        axes.plot(good, place, "o", color=_GOODPUT, markersize=3.6, alpha=0.8)
    axes.set_xlim(left=0)
    axes.set_xlabel("a second")
    axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
