"""Where the time went: the phases of connections, by cause."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from harness.page.style import headline, storm_style
from harness.thought.phases import PHASES

PHASE_LOOK: dict[str, tuple[str, str]] = {
    "waiting_us": ("#dddddd", ""),
    "syn_wait_us": ("#E69F00", ""),
    "ghost_wait_us": ("#009E73", "////"),
    "queue_wait_us": ("#56B4E9", ""),
    "service_us": ("#0072B2", ""),
    "generator_lag_us": ("#999999", "...."),
}
"""Colour and hatch of each phase."""


def time_by_cause(lives: pd.DataFrame, title: str) -> Figure:
    """For each cause the mean life of its connections, cut into phases; ``lives`` holds cause and phases."""
    by_cause = lives.dropna(subset=[PHASES[0]]).groupby("cause", observed=True)
    means_s = by_cause[list(PHASES)].mean() / 1e6
    order = by_cause.size().sort_values().index
    means_s, sizes = means_s.loc[order], by_cause.size().loc[order]
    with storm_style():
        figure, axes = plt.subplots(figsize=(7.2, 1.3 + 0.42 * len(order)))
        left = np.zeros(len(order))
        for phase in PHASES:
            width = means_s[phase].to_numpy()
            if not np.any(width > 0.001 * means_s.to_numpy().sum(axis=1).max()):
                continue  # too short to be seen
            colour, hatch = PHASE_LOOK[phase]
            label = phase.removesuffix("_us").replace("_", " ")
            axes.barh(range(len(order)), width, left=left, color=colour, hatch=hatch, edgecolor="white", label=label)
            left += width
        names = [f"{name}  ({count:,})" for name, count in zip(order.astype(str), sizes, strict=True)]
        axes.set_yticks(range(len(order)), names)
        axes.set_xlim(left=0)
        axes.set_xlabel("mean life of a connection, seconds")
        axes.grid(visible=False, axis="y")
        figure.legend(loc="outside lower center", ncols=len(PHASES))
        headline(figure, title)
    return figure
