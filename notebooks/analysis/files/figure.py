"""Open files of a server over time, and what they kept from being accepted: a panel for each storm."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from analysis.files.backoffs import silences, waits
from harness.page.style import headline, storm_style

_FILES, _QUEUE, _ENDED = "#0072B2", "#999999", "#D55E00"
_FULL, _FREE, _OTHER = "#E69F00", "#D55E00", "#56B4E9"
_ABOVE = 1.06
"""Where the accepts are marked, in heights of a panel."""


def files_over_time(panels: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], title: str) -> Figure:
    """``panels`` has for each storm its lives and samples; the server's limit of files is drawn where it is in view.

    Shaded is the time between two accepts in which a connection waited: with all files open as it began, until one was
    free, and from then on; or with files to spare. Above each panel a mark for each accept.
    """
    last_s = max(float(lives["closed_us"].max()) / 1e6 for lives, _ in panels.values())
    with storm_style():
        figure, grid = plt.subplots(len(panels), 1, sharex=True, squeeze=False, figsize=(7.2, 1.2 + 1.55 * len(panels)))
        for axes, (name, (lives, samples)) in zip(grid[:, 0], panels.items(), strict=True):
            _shade(axes, waits(silences(lives, samples)))
            _draw(axes, lives, samples)
            axes.set_title(name, fontweight="normal", fontsize=9, pad=12)
            axes.set_ylabel("number")
            axes.grid(visible=False, axis="x")
        grid[-1, 0].set_xlabel("seconds from the start of the storm")
        grid[-1, 0].set_xlim(-0.01 * last_s, 1.01 * last_s)
        figure.legend(handles=_handles(), loc="outside lower center", ncols=3)
        headline(figure, title)
    return figure


def _shade(axes: Axes, found: pd.DataFrame) -> None:
    for wait in found.to_dict("records"):
        since, end = wait["since_us"] / 1e6, wait["end_us"] / 1e6
        if not wait["at_limit"]:
            axes.axvspan(since, end, color=_OTHER, alpha=0.35, linewidth=0)
            continue
        free = end - wait["overslept_ms"] / 1000
        axes.axvspan(since, free, color=_FULL, alpha=0.3, linewidth=0)
        axes.axvspan(free, end, color=_FREE, alpha=0.3, linewidth=0)


def _draw(axes: Axes, lives: pd.DataFrame, samples: pd.DataFrame) -> None:
    queue, files = samples.dropna(subset=["accept_queue"]), samples.dropna(subset=["server_files"])
    axes.fill_between(queue["time_us"] / 1e6, queue["accept_queue"], step="post", color=_QUEUE, alpha=0.55, linewidth=0)
    axes.plot(files["time_us"] / 1e6, files["server_files"], color=_FILES, linewidth=1.1, drawstyle="steps-post")
    limit = float(files["server_files_limit"].max())
    if limit <= max(files["server_files"].max(), queue["accept_queue"].max()):
        axes.axhline(limit, color="black", linewidth=0.8, linestyle="--")
    ended = lives["outcome"].isin(["reset", "closed_early", "refused"])
    above = axes.get_xaxis_transform()
    for column, chosen, colour in (("accepted_us", ~ended, "black"), ("closed_us", ended, _ENDED)):
        seconds = lives.loc[chosen, column].dropna() / 1e6
        height = np.full(len(seconds), _ABOVE)
        mark: dict[str, Any] = {"markersize": 5, "markeredgewidth": 0.4, "transform": above, "clip_on": False}
        (marks,) = axes.plot(seconds, height, "|", color=colour, **mark)
        marks.set_in_layout(False)
    axes.set_ylim(bottom=0)


def _handles() -> list[Line2D | Rectangle]:
    files = Line2D([], [], color=_FILES, label="open files")
    limit = Line2D([], [], color="black", linewidth=0.8, linestyle="--", label="their limit")
    marks = [("black", "accepted"), (_ENDED, "reset or closed unanswered")]
    shades = [(_QUEUE, 0.55, "accept queue"), (_FULL, 0.3, "waits, no file is free")]
    shades += [(_FREE, 0.3, "waits, files are free again"), (_OTHER, 0.35, "waits, files to spare")]
    return [
        files,
        limit,
        *(Line2D([], [], color=colour, marker="|", linestyle="none", label=label) for colour, label in marks),
        *(Rectangle((0, 0), 1, 1, color=colour, alpha=alpha, label=label) for colour, alpha, label in shades),
    ]
