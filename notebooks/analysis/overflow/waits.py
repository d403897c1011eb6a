"""How long connections waited before they got through, against the schedule on which the kernel sends again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from analysis.overflow.pulses import Window
from harness.page.style import headline, storm_style

STEP_S = 0.02
_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#CC79A7", "#009E73", "#56B4E9")
"""By how often it was sent again, 0 first; from the last on all alike."""


def waits_and_schedule(
    panels: Mapping[str, tuple[pd.DataFrame, Sequence[Window]]], wait: str, again: str, title: str, label: str
) -> Figure:
    """A panel for each kind of storm: its connections with the schedule of that kernel.

    ``wait`` names the column of waits in µs, ``again`` that of how often the client had to send again, which colours
    them. Windows of the schedule are shaded.
    """
    with storm_style():
        figure, grid = plt.subplots(len(panels), 1, sharex=True, squeeze=False, figsize=(7.2, 0.9 + 1.35 * len(panels)))
        last_s = max([STEP_S, *(float(waits[wait].max()) / 1e6 for waits, _ in panels.values() if len(waits))])
        edges = np.arange(0, last_s + 2 * STEP_S, STEP_S)
        seen: set[int] = set()
        for axes, (name, (waits, schedule)) in zip(grid[:, 0], panels.items(), strict=True):
            for window in schedule:
                if window.earliest_s < last_s:
                    axes.axvspan(window.earliest_s, window.latest_s, color="#000000", alpha=0.08, linewidth=0)
            times = np.minimum(waits[again].to_numpy(np.int64), len(_COLOURS) - 1)
            numbers = sorted(set(times.tolist()))
            seen.update(numbers)
            axes.hist(
                [waits.loc[times == number, wait] / 1e6 for number in numbers],
                bins=edges.tolist(),
                stacked=True,
                color=[_COLOURS[number] for number in numbers],
            )
            axes.set_yscale("symlog", linthresh=10)
            axes.set_ylabel("connections")
            axes.set_title(name, fontweight="normal", fontsize=9)
            axes.grid(visible=False, axis="x")
        grid[-1, 0].set_xlabel(label)
        grid[-1, 0].set_xlim(-0.02 * last_s, 1.02 * last_s)
        handles = [Rectangle((0, 0), 1, 1, color=_COLOURS[number]) for number in sorted(seen)]
        labels = [f"sent again {number}×{' or more' * (number == len(_COLOURS) - 1)}" for number in sorted(seen)]
        handles.append(Rectangle((0, 0), 1, 1, color="#000000", alpha=0.08))
        figure.legend(handles, [*labels, "the kernel's schedule"], loc="outside lower center", ncols=4)
        headline(figure, title)
    return figure
