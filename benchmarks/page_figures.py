"""The figures of the benchmark page, drawn from ``results.json``; readable at half the width of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from matplotlib.transforms import blended_transform_factory

from harness.page.style import headline, label_ms, log_time_axis, storm_style
from page_findings import kind, late_rounds, pairs, system_share, verdicts
from page_words import Json, day, in_us, percent, share

WIDTH_IN = 5.4
MEASURES = {"by_cpu": "by CPU time", "by_rate": "by rate"}
LOOKS = (("#0072B2", "o", "#0072B2"), ("#D55E00", "D", "white"), ("#009E73", "s", "#009E73"))
"""Colour, mark and its face, for each number of processes."""
AMBITION_LOOK: Json = {"color": "#000000", "linestyle": (0, (2, 1.4)), "linewidth": 1.3}
ROUND_LOOK: Json = {"marker": "o", "markersize": 2.0, "color": "#777777", "markeredgewidth": 0, "linestyle": "none"}
LATE_ROUND_LOOK: Json = {"color": "#56B4E9", "linewidth": 0.9, "marker": ".", "markersize": 3.5}
LATE_MEDIAN_LOOK: Json = {"color": "#000000", "linewidth": 1.8, "marker": "o", "markersize": 3.5}
EDGE: Json = {"edgecolor": "white", "linewidth": 0}
TIMES = {"user": ("#0072B2", ""), "system": ("#E69F00", "////")}


def rows(compared: list[Json], *, skip: str | None = None) -> tuple[list[tuple[float, str, bool]], dict[Any, float]]:
    """A line for each load and below it one for each generator, downwards from 0.

    Returns (height, label, whether it is a load) of each line, and the height of each (load, generator).
    """
    lines: list[tuple[float, str, bool]] = []
    heights: dict[Any, float] = {}
    height = 0.0
    for title in dict.fromkeys(one["title"] for one in compared):
        names = [each["contender"] for one in compared if one["title"] == title for each in one["contenders"]]
        names = [name for name in dict.fromkeys(names) if name != skip]
        if not names:
            continue
        lines.append((height, title, True))
        for name in names:
            height -= 1.0
            lines.append((height, name, False))
            heights[title, name] = height
        height -= 1.25
    return lines, heights


def panels(lines: list[tuple[float, str, bool]], count: int, title: str) -> tuple[Figure, list[Axes]]:
    """Panels that share their lines: generators as ticks, loads as headings across the first panel."""
    lowest = min((height for height, _, _ in lines), default=0.0)
    figure, axes = plt.subplots(
        1, count, sharey=True, squeeze=False, figsize=(WIDTH_IN, 1.35 + 0.24 * (1 - lowest)), layout="constrained"
    )
    found = list(axes[0])
    found[0].set_yticks(
        [height for height, _, is_load in lines if not is_load], [name for _, name, is_load in lines if not is_load]
    )
    found[0].set_ylim(lowest - 0.6, 0.6)
    for one in found:
        one.tick_params(axis="y", length=0)
        one.grid(visible=False, axis="y")
    for height, name, is_load in lines:
        if is_load:
            where = blended_transform_factory(figure.transFigure, found[0].transData)
            heading = found[0].text(0.015, height - 0.1, name, transform=where, fontweight="bold", va="center")
            heading.set(fontsize=8.5, in_layout=False, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})
    headline(figure, title)
    return figure, found


# ---- ratios -------------------------------------------------------------------------------------------------


def ratios(results: Json, title: str) -> Figure:
    """Lab ÷ each generator with its interval, by CPU time and by rate; small dots are the rounds."""
    compared = results["comparisons"]
    lines, heights = rows(compared, skip=results["lab"])
    counts = sorted({one["processes"] for one in compared})
    with storm_style():
        figure, axes = panels(lines, len(MEASURES), title)
        for one, measure in zip(axes, MEASURES, strict=True):
            one.axvline(1.0, color="#777777", linewidth=1.0, zorder=1)
            _ratio_axis(one, [value for found in _found(compared, measure) for value in _span(found)])
            one.set_xlabel(f"lab ÷ it, {MEASURES[measure]}")
            for comparison in compared:
                _draw_ratios(one, comparison, measure, heights, counts)
        handles = [
            Line2D([], [], color=colour, marker=mark, mfc=face, markersize=4.5, label=f"{count} against {count}")
            for count, (colour, mark, face) in zip(counts, LOOKS, strict=False)
        ]
        handles += [Line2D([], [], label="a round", **ROUND_LOOK), Line2D([], [], label="ambition", **AMBITION_LOOK)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
    return figure


def _draw_ratios(axes: Axes, comparison: Json, measure: str, heights: dict[Any, float], counts: list[int]) -> None:
    which = counts.index(comparison["processes"])
    colour, mark, face = LOOKS[which % len(LOOKS)]
    offset = 0.36 * ((len(counts) - 1) / 2 - which) / max(1, len(counts) - 1)
    mine = [heights[comparison["title"], each["contender"]] for each in comparison["contenders"] if each[measure]]
    if mine and comparison["ambition"] is not None:
        axes.plot([comparison["ambition"]] * 2, [min(mine) - 0.45, max(mine) + 0.45], zorder=2, **AMBITION_LOOK)
    for each in comparison["contenders"]:
        found = each[measure]
        if not found or found["ratio"] is None:
            continue
        height = heights[comparison["title"], each["contender"]] + offset
        axes.plot(found["each"], [height] * len(found["each"]), zorder=3, **ROUND_LOOK)
        axes.plot([found["low"], found["high"]], [height] * 2, color=colour, linewidth=1.6, zorder=4)
        axes.plot(found["ratio"], height, marker=mark, color=colour, markerfacecolor=face, markersize=4.5, zorder=5)


def _found(compared: list[Json], measure: str) -> Iterator[Json]:
    for comparison in compared:
        for each in comparison["contenders"]:
            if each[measure] and each[measure]["ratio"] is not None:
                yield each[measure]


def _span(found: Json) -> list[float]:
    return [found["low"], found["high"], *found["each"]]


def _ratio_axis(axes: Axes, values: list[float]) -> None:
    low, high = min([0.8, *values]) / 1.12, max([1.25, *values]) * 1.12
    ticks = (0.5, 0.7, 1, 1.5, 2, 3) if high / low < 6 else (0.1, 0.2, 0.5, 1, 2, 5, 10, 20)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))


# ---- CPU time -----------------------------------------------------------------------------------------------


def cpu_time(results: Json, title: str) -> Figure:
    """CPU µs an answer, user and system, of each generator; a panel for each number of processes, dots are rounds."""
    compared = results["comparisons"]
    lines, heights = rows(compared)
    counts = sorted({one["processes"] for one in compared})
    with storm_style():
        figure, axes = panels(lines, len(counts), title)
        rounds_us = {one["name"]: totals_us(results, one["name"]) for one in compared}
        most = max((value for each in rounds_us.values() for some in each.values() for value in some), default=1.0)
        for one, count in zip(axes, counts, strict=True):
            one.set_xlim(0, 1.22 * most)
            one.set_xlabel(f"CPU µs an answer, {count} against {count}")
            for comparison in (each for each in compared if each["processes"] == count):
                for each in (some for some in comparison["contenders"] if some["user_us"] is not None):
                    height = heights[comparison["title"], each["contender"]]
                    left = 0.0
                    for time, (colour, hatch) in TIMES.items():
                        width = each[f"{time}_us"]
                        one.barh(height, width, 0.62, left=left, color=colour, hatch=hatch, **EDGE)
                        left += width
                    mine = rounds_us[comparison["name"]][each["contender"]]
                    one.plot(mine, [height] * len(mine), **{**ROUND_LOOK, "color": "#000000"})
                    one.text(max([left, *mine]) + 0.02 * most, height, f"{left:.0f}", va="center", fontsize=8)
        handles: list[Any] = [
            Patch(facecolor=colour, hatch=hatch, label=name, **EDGE) for name, (colour, hatch) in TIMES.items()
        ]
        handles.append(Line2D([], [], label="a round: user + system", **{**ROUND_LOOK, "color": "#000000"}))
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def totals_us(results: Json, comparison: str) -> dict[str, list[float]]:
    """Of each contender user + system time an answer, of every round that answered any."""
    found: dict[str, list[float]] = {}
    for trial in results["trials"]:
        if trial["comparison"] == comparison:
            mine = found.setdefault(trial["contender"], [])
            if trial.get("answered"):
                mine.append(1e6 * (trial["cpu_user_s"] + trial["cpu_system_s"]) / trial["answered"])
    return found


# ---- lateness -----------------------------------------------------------------------------------------------


def lateness(rounds: list[tuple[int, dict[str, float]]], title: str) -> Figure:
    """Share of an open loop's requests that were issued later than a time after their slot; a line for each round.

    ``rounds`` holds of each the number of requests, and the lateness in µs at each of its quantiles.
    """
    with storm_style():
        figure, axes = plt.subplots(figsize=(WIDTH_IN, 3.3), layout="constrained")
        curves = [(_later(late, requests), np.maximum(list(late.values()), 1.0) / 1000) for requests, late in rounds]
        for shares, late_ms in curves:
            axes.plot(late_ms, shares, label="a round", **LATE_ROUND_LOOK)
        middle = np.median([late_ms for _, late_ms in curves], axis=0)
        axes.plot(middle, curves[0][0], label="median of the rounds", **LATE_MEDIAN_LOOK)
        log_time_axis(axes, min(late[0] for _, late in curves) / 1.3, max(late[-1] for _, late in curves) * 1.3)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{100 * value:g} %"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("issued this much later than due, or more")
        axes.set_ylabel("share of all requests")
        handles, labels = axes.get_legend_handles_labels()
        axes.legend(handles[-2:][::-1], labels[-2:][::-1], loc="lower left")
        headline(figure, title)
    return figure


def _later(late: dict[str, float], requests: int) -> list[float]:
    """What share is later than each quantile; of the latest that is itself."""
    return [1 / requests if name == "max" else 1 - float(name[1:]) / 100 for name in late]


def figures(results: Json) -> dict[str, tuple[Callable[[], Any], str, str]]:
    """Name → how it is drawn, its caption, its alternative text; without those that there are no data for."""
    found: dict[str, tuple[Callable[[], Any], str, str]] = {}
    method = f"{results['rounds']:,} interleaved rounds, measured {day(results)}."
    by_cpu = verdicts(results, "by_cpu")
    decided = sum(map(len, by_cpu.values()))
    if decided:
        finding = f"By CPU, the ambition is reached in {len(by_cpu['reached'])} of {decided} comparisons"
        caption = (
            "Marks: geometric mean of the rounds' ratios lab ÷ other generator; right of 1 the lab is faster. Lines: "
            f"{percent(results['confidence'])} intervals, bootstrap over rounds with {results['resamples']:,} "
            f"resamples. {method}"
        )
        said = "; ".join(f"{MEASURES[name]}: {spoken_ratios(results, name)}" for name in MEASURES)
        found["ratios"] = (lambda: ratios(results, finding), caption, f"Ratios lab ÷ other generator, {said}.")
    if (shares := system_share(results)) is not None:
        kernel = f"{share(shares[0])} to {share(shares[1])}"
        found["cpu"] = (
            lambda: cpu_time(results, f"{kernel} of the lab's CPU time is the kernel's"),
            f"CPU time an answer, medians of the rounds, user and system stacked; dots: rounds. {method}",
            f"Bars: CPU time an answer, user and system. {spoken_cpu(results)}.",
        )
    for number, (name, rounds) in enumerate(late_rounds(results).items()):
        if rounds:
            middle = {key: float(np.median([late[key] for _, late in rounds])) for key in rounds[0][1]}
            title = f"Half of all requests leave at most {label_ms(middle['p50'] / 1000)} late"
            spoken = (
                f"half are at most {in_us(middle['p50'])} late, 99 % {in_us(middle['p99'])}, all {in_us(middle['max'])}"
            )
            found["lateness" + (f"-{number + 1}" if number else "")] = (
                lambda rounds=rounds, title=title: lateness(rounds, title),
                f"{name[0].upper()}{name[1:]}: how late the lab issued each of {rounds[0][0]:,} requests; the last "
                f"point is the latest. {method}",
                f"Share of the requests of an open loop that left later than a time after their slot: {spoken}.",
            )
    return found


def spoken_ratios(results: Json, measure: str) -> str:
    """From the least to the largest of each kind of load."""
    found: dict[str, list[float]] = {}
    for one, each in pairs(results):
        if each[measure] and each[measure]["ratio"] is not None:
            found.setdefault(kind(one), []).append(each[measure]["ratio"])
    return ", ".join(f"{name} {min(values):.2f} to {max(values):.2f}" for name, values in found.items())


def spoken_cpu(results: Json) -> str:
    found: dict[str, dict[str, list[float]]] = {}
    for one in results["comparisons"]:
        for each in one["contenders"]:
            if each["user_us"] is not None:
                who = "the lab" if each["contender"] == results["lab"] else "others"
                found.setdefault(kind(one), {}).setdefault(who, []).append(each["user_us"] + each["system_us"])
    return "; ".join(
        f"{where}: {', '.join(f'{who} {min(values):.0f} to {max(values):.0f} µs' for who, values in by.items())}"
        for where, by in found.items()
    )
