"""All effects at a glance: a row for each kind of storm, a panel for each measure, an interval for each variant."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

from analysis.allocators.effects import AGAIN
from harness.page.style import ALLOCATOR_LOOK, OTHER_LOOK, headline, storm_style
from harness.thought.comparing import DECIDED

_MARKS = {"jemalloc": "o", "mimalloc": "s", AGAIN: "D"}
_LEAST = 1.05
"""A panel shows at least this much to either side of no difference."""
_MOST = 5.0
"""And at most this: of few blocks an interval may have no end."""


def effects_at_a_glance(found: pd.DataFrame, measures: Mapping[str, str], title: str) -> Figure:
    """``found`` as from :func:`effects.effects`; ``measures`` has the label of each.

    Ratios to the untouched variant with their intervals, or ranges. A mark is full where an effect is seen, hollow
    where none is, crossed out where there is no answer.
    """
    kinds = list(dict.fromkeys(zip(found["server"], found["load"], strict=True)))
    variants = [name for name in _MARKS if (found["variant"] == name).any()]
    with storm_style():
        figure, panels = plt.subplots(
            1, len(measures), sharey=True, squeeze=False, figsize=(7.2, 1.3 + 0.36 * len(kinds))
        )
        for axes, (measure, label) in zip(panels[0], measures.items(), strict=True):
            of_measure = found[found["measure"] == measure]
            axes.axvline(1, color="#444444", linewidth=0.8)
            for row in of_measure.to_dict("records"):
                height = len(kinds) - 1 - kinds.index((row["server"], row["load"]))
                _draw(axes, row, height + 0.24 * (1 - variants.index(row["variant"])))
            _ratio_axis(axes, of_measure)
            axes.set_xlabel("\n".join(textwrap.wrap(label, 14)))
            axes.tick_params(axis="x", labelsize=7.5)
        labels = [f"{server}, {load}" for server, load in kinds]
        panels[0][0].set_yticks(range(len(kinds) - 1, -1, -1), labels)
        panels[0][0].set_ylim(-0.6, len(kinds) - 0.4)
        figure.legend(handles=_handles(variants), loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure


def _draw(axes: Axes, row: Mapping[Any, Any], height: float) -> None:
    colour, _ = ALLOCATOR_LOOK.get(row["variant"], OTHER_LOOK)
    axes.plot([row["low"], row["high"]], [height, height], color=colour, linewidth=1.1)
    face = colour if row["seen"] in ("more", "less") else "white"
    mark = _MARKS.get(row["variant"], "o") if row["seen"] in DECIDED else "x"
    axes.plot(row["ratio"], height, mark, markersize=4, color=colour, markerfacecolor=face)


def _ratio_axis(axes: Axes, rows: pd.DataFrame) -> None:
    """Logarithmic and symmetric about no difference, in percent."""
    ends = np.array([*rows["high"], *(1 / rows["low"]), _LEAST], np.float64)
    reach = min(_MOST, float(ends[np.isfinite(ends)].max())) ** 1.08
    axes.set_xscale("log")
    axes.set_xlim(1 / reach, reach)
    step = next((step for step in (1.02, 1.05, 1.1, 1.2, 1.5, 2.0, 5.0) if step**1.6 > reach), 10.0)
    axes.set_xticks([1 / step, 1, step])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: _change(value)))


def _change(ratio: float) -> str:
    return "0" if np.isclose(ratio, 1) else f"{ratio - 1:+.0%}".replace("-", "−") if ratio < 2 else f"× {ratio:g}"


def _handles(variants: list[str]) -> list[Line2D]:
    handles = [
        Line2D([], [], color=ALLOCATOR_LOOK[name][0], marker=_MARKS[name], markersize=4, label=name)
        for name in variants
    ]
    dark: dict[str, Any] = {"color": "#444444", "linestyle": "none", "markersize": 4}
    handles.append(Line2D([], [], marker="o", label="full: an effect", **dark))
    handles.append(Line2D([], [], marker="o", markerfacecolor="white", label="hollow: none shown", **dark))
    handles.append(Line2D([], [], marker="x", label="no answer: see the table", **dark))
    return handles
