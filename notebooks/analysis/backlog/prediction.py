"""What was predicted against what was measured."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure

from harness.page.style import headline, percent_axis, storm_style


def predicted_and_measured(runs: pd.DataFrame, title: str) -> Figure:
    """``first_try_share`` over ``first_try_predicted``, a mark for each run, a colour for each backlog."""
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 4.0))
        low = float(min(runs["first_try_share"].min(), runs["first_try_predicted"].min())) - 0.03
        axes.plot([low, 1], [low, 1], color="#999999", linewidth=1, linestyle="--", label="as predicted")
        backlogs = sorted(runs["backlog_effective"].unique())
        colours = plt.get_cmap("viridis")
        for place, backlog in enumerate(backlogs):
            chosen = runs[runs["backlog_effective"] == backlog]
            axes.scatter(
                chosen["first_try_predicted"],
                chosen["first_try_share"],
                s=22,
                color=colours(place / max(1, len(backlogs) - 1)),
                marker="osD^vPX*"[place % 8],
                alpha=0.75,
                linewidths=0,
                label=f"backlog {backlog:.0f}",
            )
        for which in ("x", "y"):
            percent_axis(axes, which)
        axes.set_xlabel("predicted: answered at the first try")
        axes.set_ylabel("measured")
        figure.legend(loc="outside right center")
        headline(figure, title)
    return figure
