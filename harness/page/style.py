"""What every figure shares: the style sheet, plain units, and one look for each stack."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

STYLE = Path(__file__).with_name("storm.mplstyle")
SERVER_LOOK: dict[str, tuple[str, str]] = {
    "hyper": ("#D55E00", "-"),
    "hyper-std": ("#D55E00", "--"),
    "tokio": ("#E69F00", "-"),
    "tokio-std": ("#E69F00", "--"),
    "actix": ("#CC79A7", "-"),
    "hyper-today": ("#D55E00", "-"),
    "hyper-2024": ("#D55E00", "--"),
    "go": ("#0072B2", "-"),
    "node": ("#009E73", "-"),
    "python": ("#000000", "-"),
}
"""Colour and line of each stack: std's listener and former times are dashed; an unknown server is grey and dotted."""
OTHER_LOOK = ("#777777", ":")
ALLOCATOR_LOOK: dict[str, tuple[str, str]] = {
    "system": ("#000000", "-"),
    "system again": ("#777777", ":"),
    "jemalloc": ("#0072B2", "--"),
    "mimalloc": ("#D55E00", "-."),
}
"""Colour and line of each allocator, and of the untouched one when it is compared with itself."""


CAUSE_COLOUR: dict[str, str] = {
    "clean": "#0072B2",
    "syn_dropped": "#D55E00",
    "input_queue_dropped": "#CC79A7",
    "path_loss": "#56B4E9",
    "ghost": "#009E73",
    "never_accepted": "#E69F00",
    "slow_accept": "#F0E442",
    "slow_answer": "#8c6d31",
    "client_late": "#7f7f7f",
    "client_out_of_files": "#5e3c99",
    "client_out_of_ports": "#b2abd2",
    "refused": "#800000",
    "reset": "#b22222",
    "closed_early": "#cd5c5c",
    "bad_answer": "#e9967a",
    "unknown": "#bdbdbd",
}
"""Colour of each cause in every figure; the frequent ones are Okabe and Ito's."""


def look(server: str) -> tuple[str, str]:
    return SERVER_LOOK.get(server, OTHER_LOOK)


@contextmanager
def storm_style() -> Iterator[None]:
    with plt.style.context(STYLE):
        yield


def headline(figure: Figure, title: str) -> None:
    """What a figure shows, in a sentence above all of it."""
    figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, fontweight="bold")


def mark_unanswered(axes: Axes, place: float, colour: str, edge: Literal["right", "top"] = "right") -> None:
    """A cross at the edge of the panel where a quantile that lies among the unanswered would be."""
    if edge == "right":
        axes.plot(1, place, "x", color=colour, transform=axes.get_yaxis_transform(), clip_on=False)
    else:
        axes.plot(place, 1, "x", color=colour, transform=axes.get_xaxis_transform(), clip_on=False)


def unanswered_handle() -> Line2D:
    """What a legend says of :func:`mark_unanswered`."""
    return Line2D([], [], marker="x", color="#444444", linestyle="none", label="lies among the unanswered")


def label_ms(value_ms: float) -> str:
    """A latency in plain units: 100 µs, 1 ms, 10 s."""
    for unit, size in (("s", 1000.0), ("ms", 1.0), ("µs", 0.001)):
        if value_ms >= size * 0.9995:
            return f"{value_ms / size:.3g} {unit}"
    return f"{value_ms * 1000:.3g} µs"


def log_time_axis(axes: Axes, low_ms: float, high_ms: float) -> None:
    """A logarithmic horizontal axis of milliseconds with plain labels, wherever it begins and ends."""
    axes.set_xscale("log")
    axes.set_xlim(low_ms, high_ms)
    decades = math.log10(high_ms / low_ms)
    steps = (1.0,) if decades > 2 else (1.0, 3.0) if decades > 1 else (1.0, 2.0, 5.0)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: label_ms(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())


def percent_axis(axes: Axes, which: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:.0%}"))
