"""When the answers came: the pictures in which pulses can be seen."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.plots.style import look, storm_style
from harness.stats import TIMELINE_STEP_S


def answer_timelines(runs: pd.DataFrame, title: str) -> Figure:
    """Answers in each 100 ms after the start: a row for each server, a column for each CPU regime, one run in each.

    Each row has its own scale, the same in all columns, because pulses are a matter of shape; the largest value is
    written beside it.
    """
    servers, regimes = list(dict.fromkeys(runs["server"])), list(dict.fromkeys(runs["cpu"]))
    last_step = 1 + max(int(np.flatnonzero(counts)[-1]) if np.any(counts) else 0 for counts in runs["answers_per_step"])
    starts_s = np.arange(last_step) * TIMELINE_STEP_S
    with storm_style():
        figure, panels = plt.subplots(
            len(servers),
            len(regimes),
            sharex=True,
            sharey="row",
            squeeze=False,
            figsize=(7.2, 0.55 + 0.62 * len(servers)),
        )
        for row, server in zip(panels, servers, strict=True):
            for axes, regime in zip(row, regimes, strict=True):
                chosen = runs[(runs["server"] == server) & (runs["cpu"] == regime)]
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                if chosen.empty:
                    axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center")
                    continue
                run = chosen.iloc[0]
                counts = np.asarray(run["answers_per_step"])[:last_step]
                axes.bar(starts_s, counts, TIMELINE_STEP_S, align="edge", color=look(server)[0], linewidth=0)
                unanswered = 1 - run["success_rate"]
                note = f"{counts.max():,} in 100 ms at most"
                note += f", {unanswered:.1%} unanswered" if unanswered else ""
                axes.text(
                    0.99, 0.9, note, transform=axes.transAxes, ha="right", va="top", fontsize=7.5, color="#444444"
                )
            row[0].set_ylabel(server, rotation=0, ha="right", va="center")
        for axes, regime in zip(panels[0], regimes, strict=True):
            axes.set_title(f"{regime} CPUs", fontweight="normal", fontsize=9)
        for axes in panels[-1]:
            axes.set_xlabel("seconds from the start of the storm")
            axes.set_xlim(0, last_step * TIMELINE_STEP_S)
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")
    return figure
