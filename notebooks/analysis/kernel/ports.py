"""What connect() costs as the range of source ports fills."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from harness.page.style import headline, label_ms, storm_style
from harness.thought.stats import CONNECTS_PER_STEP

_CHEAP_US = 3
"""Less no connect() takes."""
_LOOKS = (("#D55E00", "-"), ("#0072B2", "--"), ("#009E73", "-."), ("#CC79A7", ":"))


def connect_costs(runs: pd.DataFrame, ends: Mapping[str, int], title: str) -> Figure:
    """``connect_us_per_step`` of each run over the ports in use; a colour for each ``variant``.

    ``ends`` has for a variant the number of ports at which its range ends, which is marked.
    """
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 3.6))
        for (variant, storms), (colour, line) in zip(runs.groupby("variant", observed=True), _LOOKS, strict=False):
            for number, costs in enumerate(storms["connect_us_per_step"]):
                in_use = (np.arange(len(costs)) + 0.5) * CONNECTS_PER_STEP
                label = str(variant) if number == 0 else None
                axes.plot(in_use, costs, color=colour, linestyle=line, linewidth=1.1, alpha=0.8, label=label)
            if variant in ends:
                axes.axvline(ends[str(variant)], color=colour, linewidth=0.8)
                near: dict[str, Any] = {"xytext": (-4, 6), "textcoords": "offset points", "ha": "right", "fontsize": 8}
                text = f"{ends[str(variant)]:,} ports"
                axes.annotate(text, (ends[str(variant)], 0), xycoords=("data", "axes fraction"), color=colour, **near)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, position: label_ms(value / 1000))
        axes.yaxis.set_minor_formatter(NullFormatter())
        dearest = max((max(costs, default=1) for costs in runs["connect_us_per_step"]), default=1)
        axes.set_ylim(_CHEAP_US, max(100, 1.5 * dearest))
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda value, position: f"{value:,.0f}")
        axes.set_xlabel("connections made before, each of which holds its port")
        axes.set_ylabel("what connect() takes")
        axes.legend(loc="upper left")
        headline(figure, title)
    return figure
