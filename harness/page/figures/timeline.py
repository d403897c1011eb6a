"""When the answers came: the pictures in which pulses can be seen."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.page.style import headline, look, storm_style
from harness.thought.stats import TIMELINE_STEP_S

HEADROOM = 1.5
"""Room above the bars for what is written there."""


def answer_timelines(runs: pd.DataFrame, title: str) -> Figure:
    """Answers in each 100 ms after the start: a row for each server, a column for each CPU regime, one run in each.

    Each row has its own scale, the same in all columns, because pulses are a matter of shape; the largest value is
    written beside it.
    """
    servers, regimes = list(dict.fromkeys(runs["server"])), list(dict.fromkeys(runs["cpu"]))
    last_step = 1 + max(int(np.flatnonzero(counts)[-1]) if np.any(counts) else 0 for counts in runs["answers_per_step"])
    edges_s = np.arange(last_step + 1) * TIMELINE_STEP_S
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
            of_server = runs[runs["server"] == server]
            for axes, regime in zip(row, regimes, strict=True):
                chosen = of_server[of_server["cpu"] == regime]
                axes.set_yticks([])
                axes.spines["left"].set_visible(False)
                if chosen.empty:
                    axes.text(0.5, 0.5, "not run", transform=axes.transAxes, ha="center", va="center")
                    continue
                run = chosen.iloc[0]
                counts = np.asarray(run["answers_per_step"])[:last_step]
                axes.stairs(counts, edges_s, fill=True, color=look(server)[0], linewidth=0)
                unanswered = 1 - run["success_rate"]
                note = f"at most {counts.max():,} in 100 ms" + (f", {unanswered:.1%} unanswered" if unanswered else "")
                small = {"fontsize": 7.5, "color": "#444444"}
                axes.text(0.99, 0.97, note, transform=axes.transAxes, ha="right", va="top", **small)
            row[0].set_ylim(0, HEADROOM * max(int(np.max(counts)) for counts in of_server["answers_per_step"]))
            row[0].set_ylabel(server, rotation=0, ha="right", va="center")
        for axes, regime in zip(panels[0], regimes, strict=True):
            axes.set_title(f"{regime} CPUs", fontweight="normal", fontsize=9)
        for axes in panels[-1]:
            axes.set_xlabel("seconds from the start of the storm")
            axes.set_xlim(0, last_step * TIMELINE_STEP_S)
        headline(figure, title)
    return figure
