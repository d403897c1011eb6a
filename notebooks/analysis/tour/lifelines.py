"""One storm, a line for each connection: the picture in which pulses, ghosts and full queues are seen at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from harness.page.style import CAUSE_COLOUR, headline, storm_style

ANSWERS_STEP_S = 0.02
_NOTE: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 7.5}
_WAITING_ALPHA, _GHOST_ALPHA = 0.22, 0.6


def lifelines(lives: pd.DataFrame, samples: pd.DataFrame, title: str, stalled_until_s: float = 0) -> Figure:
    """Queue depth, lives and answers of one run on one time axis.

    ``lives`` is the run's connections joined with their causes, ``samples`` its samples. Connections are ordered by
    their ends, so that the right edge of the lines is the curve of all that have ended. The time in which the server
    was stopped on purpose is shaded.
    """
    ordered = lives.sort_values(["closed_us", "issued_us"], ignore_index=True).dropna(subset=["issued_us", "closed_us"])
    last_s = float(ordered["closed_us"].max()) / 1e6
    with storm_style():
        figure, (depth, lines, answers) = plt.subplots(
            3, 1, sharex=True, figsize=(7.2, 7.4), gridspec_kw={"height_ratios": (1.1, 5, 1.1)}
        )
        _draw_depth(depth, samples)
        if stalled_until_s:
            for axes in (depth, lines, answers):
                axes.axvspan(0, stalled_until_s, color="#000000", alpha=0.06, linewidth=0, zorder=0)
            depth.text(stalled_until_s / 2, 0.98, "server stopped", transform=depth.get_xaxis_transform(), **_NOTE)
        _draw_lives(lines, ordered)
        _draw_answers(answers, ordered, last_s)
        answers.set_xlabel("seconds from the start of the storm")
        answers.set_xlim(-0.01 * last_s, 1.01 * last_s)
        headline(figure, title)
        handles = _legend(ordered)
        figure.legend(handles=handles, loc="outside lower center", ncols=3, handlelength=2.6)
    return figure


def _draw_depth(axes: Axes, samples: pd.DataFrame) -> None:
    seen = samples.dropna(subset=["accept_queue"])
    axes.fill_between(seen["time_us"] / 1e6, seen["accept_queue"], step="post", color="#555555", linewidth=0)
    backlog = float(seen["backlog"].max())
    axes.axhline(backlog + 1, color="black", linewidth=0.8, linestyle="--")
    axes.set_ylim(0, 1.35 * (backlog + 1))
    axes.text(
        1,
        backlog + 1,
        f"full: backlog {backlog:.0f} + 1 ",
        ha="right",
        va="bottom",
        fontsize=7.5,
        transform=_right(axes),
    )
    axes.set_ylabel("accept\nqueue")
    axes.grid(visible=False, axis="x")


def _right(axes: Axes) -> object:
    """Horizontally in shares of the panel, vertically in data."""
    return axes.get_yaxis_transform()


def _draw_lives(axes: Axes, lives: pd.DataFrame) -> None:
    """Pale while it waits for a SYN-ACK, half while it is a ghost, full in the queue and in service."""
    colours = lives["cause"].map(CAUSE_COLOUR).to_numpy()
    begin = lives["issued_us"].to_numpy() / 1e6
    phases = [lives[name].to_numpy() / 1e6 for name in ("syn_wait_us", "ghost_wait_us")]
    established, entered = begin + phases[0], begin + phases[0] + phases[1]
    end = lives["closed_us"].to_numpy() / 1e6
    rows = np.arange(len(lives))
    width = max(0.15, 260 / max(len(lives), 1))
    for left, right, alpha in (
        (begin, established, _WAITING_ALPHA),
        (established, entered, _GHOST_ALPHA),
        (entered, end, 1.0),
    ):
        there = right > left
        axes.add_collection(
            LineCollection(
                list(_segments(left[there], right[there], rows[there])),
                colors=list(colours[there]),
                linewidths=width,
                alpha=alpha,
                rasterized=True,
                capstyle="butt",
            )
        )
    answered = (lives["outcome"] == "answered").to_numpy()
    axes.scatter(
        end[answered], rows[answered], s=1.2, c=list(colours[answered]), linewidths=0, rasterized=True, zorder=3
    )
    axes.scatter(end[~answered], rows[~answered], s=1.2, c="black", linewidths=0, rasterized=True, zorder=3)
    axes.set_ylim(0, len(lives))
    axes.set_ylabel("connections, in the order of their ends")
    axes.grid(visible=False, axis="y")


def _segments(left: NDArray[np.float64], right: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Horizontal lines; shape (lines, 2 ends, 2 coordinates)."""
    return np.stack([np.column_stack([left, rows]), np.column_stack([right, rows])], axis=1)


def _draw_answers(axes: Axes, lives: pd.DataFrame, last_s: float) -> None:
    edges = np.arange(0, last_s + ANSWERS_STEP_S, ANSWERS_STEP_S)
    ends = lives.loc[lives["outcome"] == "answered", "closed_us"] / 1e6
    counts, _ = np.histogram(ends, edges)
    axes.stairs(counts, edges, fill=True, color="#555555", linewidth=0)
    axes.set_ylabel(f"answers\nin {ANSWERS_STEP_S * 1000:.0f} ms")
    axes.grid(visible=False, axis="x")


def _legend(lives: pd.DataFrame) -> Sequence[Line2D]:
    counts = lives["cause"].value_counts()
    unanswered = bool((lives["outcome"] != "answered").any())
    handles = [
        Line2D([], [], color=CAUSE_COLOUR[cause], linewidth=4, label=f"{cause}: {count:,}")
        for cause, count in zip(counts.index.astype(str), counts, strict=True)
        if count
    ]
    shades = (
        ("waits for a SYN-ACK", _WAITING_ALPHA),
        ("established, ACK ignored", _GHOST_ALPHA),
        ("in queue and service", 1.0),
    )
    handles += [Line2D([], [], color="#333333", alpha=alpha, linewidth=4, label=label) for label, alpha in shades]
    if unanswered:
        handles.append(Line2D([], [], color="black", marker=".", linestyle="", markersize=5, label="given up"))
    return handles
