"""What became of the connections, by cause: a bar for each kind of storm, all of them as long as 100 %."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.page.style import CAUSE_COLOUR, headline, percent_axis, storm_style
from harness.thought.cause import CAUSES

_SEEN = 0.002
"""A smaller share cannot be seen in a bar."""


def causes_by_variant(shares: pd.DataFrame, title: str) -> Figure:
    """``shares`` has a row for each bar, its name as index, and a column for each cause; rows sum to 1."""
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 1.5 + 0.33 * len(shares)))
        heights = np.arange(len(shares))[::-1]
        left = np.zeros(len(shares))
        for cause in ("clean", *(name for name in CAUSES if name != "clean")):
            width = shares[cause].to_numpy(float)
            if not np.any(width > _SEEN):
                continue
            axes.barh(
                heights, width, left=left, color=CAUSE_COLOUR[cause], edgecolor="white", linewidth=0.5, label=cause
            )
            left += width
        axes.set_yticks(heights, [str(name) for name in shares.index])
        axes.set_ylim(-0.6, len(shares) - 0.4)
        axes.set_xlim(0, 1)
        percent_axis(axes, "x")
        axes.set_xlabel("share of all connections")
        axes.grid(visible=False, axis="y")
        headline(figure, title)
        figure.legend(loc="outside lower center", ncols=4)
    return figure
