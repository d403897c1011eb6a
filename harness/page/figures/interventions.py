"""One thing changed at a time: a row for each change, a panel for each symptom, a mark for each storm."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from harness.page.style import headline, label_ms, mark_unanswered, percent_axis, storm_style, unanswered_handle
from harness.thought.stats import median_of_runs

_UNTOUCHED, _CHANGED = "#D55E00", "#0072B2"


def interventions(runs: pd.DataFrame, symptoms: Mapping[str, tuple[str, str]], title: str) -> Figure:
    """``runs`` has a column ``variant``, whose first is the storm as it is, and the columns of ``symptoms``.

    ``symptoms`` has for each column its label and what it is: ``share``, ``ms`` or ``count``. The band is the range of
    the storms as they are, the line in it their median; a quantile that lies among the unanswered stands at the right
    edge as a cross.
    """
    variants = list(dict.fromkeys(runs["variant"]))
    heights = {variant: len(variants) - 1 - index for index, variant in enumerate(variants)}
    untouched = runs[runs["variant"] == variants[0]]
    with storm_style():
        figure, panels = plt.subplots(
            1, len(symptoms), sharey=True, squeeze=False, figsize=(7.2, 1.2 + 0.34 * len(variants))
        )
        for axes, (column, (label, kind)) in zip(panels[0], symptoms.items(), strict=True):
            axes.set_xlabel(label)
            _AXES[kind](axes, float(np.nanmax(runs[column].to_numpy(float), initial=0)))
            edge = axes.get_xlim()[1]
            as_it_is = untouched[column].fillna(edge)
            axes.axvspan(as_it_is.min(), as_it_is.max(), color=_UNTOUCHED, alpha=0.15, linewidth=0)
            axes.axvline(min(median_of_runs(untouched[column]), edge), color=_UNTOUCHED, linewidth=0.8)
            for variant, storms in runs.groupby("variant", sort=False, observed=True):
                colour = _UNTOUCHED if variant == variants[0] else _CHANGED
                spread = np.linspace(-0.22, 0.22, len(storms)) if len(storms) > 1 else [0.0]
                for value, offset in zip(storms[column], spread, strict=True):
                    height = heights[variant] + offset
                    if pd.isna(value):
                        mark_unanswered(axes, height, colour)
                    else:
                        axes.plot(value, height, "o", markersize=4, color=colour, alpha=0.8)
        panels[0][0].set_yticks(list(heights.values()), [str(variant) for variant in heights])
        panels[0][0].set_ylim(-0.6, len(variants) - 0.4)
        if runs[list(symptoms)].isna().any(axis=None):
            figure.legend(handles=[unanswered_handle()], loc="outside lower center")
        headline(figure, title)
    return figure


def _share(axes: Axes, largest: float) -> None:
    axes.set_xlim(-0.06, 1.06)
    axes.set_xticks([0, 0.5, 1])
    percent_axis(axes, "x")


def _ms(axes: Axes, largest: float) -> None:
    axes.set_xlim(0, 1.12 * largest)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda value, position: label_ms(value) if value else "0")


def _count(axes: Axes, largest: float) -> None:
    axes.set_xlim(-0.06 * max(largest, 1), 1.12 * max(largest, 1))
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda value, position: f"{value / 1000:g} k" if value >= 1000 else f"{value:g}")


_AXES: Mapping[str, Callable[[Axes, float], None]] = {"share": _share, "ms": _ms, "count": _count}
