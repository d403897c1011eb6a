"""The figures of the benchmark page, drawn from ``results.json``; readable at half the width of a page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from contenders import LAB, PYTHON_ENGINE
from harness.page.style import headline, log_time_axis, storm_style
from page_findings import MEASURES, against, decided, lab_of, late_rounds, open_loops
from page_words import Json, and_list, day, in_us, percent, share

WIDTH_IN = 6.4
LOOKS = {"by_rate": ("#0072B2", "o", "#0072B2"), "by_cpu": ("#D55E00", "D", "white")}
"""Colour, mark and its face, for each measure."""
AMBITION_LOOK: Json = {"color": "#000000", "linestyle": (0, (2, 1.4)), "linewidth": 1.3}
ROUND_LOOK: Json = {"marker": "o", "markersize": 2.0, "color": "#777777", "markeredgewidth": 0, "linestyle": "none"}
EDGE: Json = {"edgecolor": "white", "linewidth": 0}
CUT_OFF = 4.0
"""A bar that is so many times as long as the longest of the others ends at the edge, with its number."""
TIMES = {"user": ("#0072B2", ""), "system": ("#E69F00", "////")}
LATE_LOOKS = (("#000000", "-"), ("#0072B2", "--"), ("#D55E00", "-."), ("#009E73", ":"))


def singles(results: Json) -> list[Json]:
    """The comparisons of one against one that are about speed: a panel each."""
    return [one for one in results["comparisons"] if one["processes"] == 1 and one["rate"] is None]


def panels(compared: list[Json], lines: list[int], title: str) -> tuple[Figure, list[Axes]]:
    """Two columns of panels, each row as high as it has ``lines`` at most."""
    heights = [max(lines[row : row + 2]) + 2.2 for row in range(0, len(lines), 2)]
    figure, axes = plt.subplots(
        len(heights),
        min(2, len(compared)),
        squeeze=False,
        figsize=(WIDTH_IN, 0.95 + 0.21 * sum(heights)),
        layout="constrained",
        gridspec_kw={"height_ratios": heights},
    )
    found = list(axes.flat)
    for spare in found[len(compared) :]:
        spare.set_visible(False)
    for one, where, count in zip(compared, found, lines, strict=False):
        where.set_title(one["kind"][0].upper() + one["kind"][1:], fontsize=8.5)
        where.tick_params(axis="y", length=0)
        where.grid(visible=False, axis="y")
        where.set_ylim(count - 0.4, -0.6)
    headline(figure, title)
    return figure, found


# ---- ratios -------------------------------------------------------------------------------------------------


def ratios(results: Json, title: str) -> Figure:
    """Lab ÷ each generator with its interval, by rate and by CPU time; small dots are the rounds."""
    compared = singles(results)
    others = [[each for each in one["contenders"] if each["contender"] != results["lab"]] for one in compared]
    with storm_style():
        figure, axes = panels(compared, [max(1, len(each)) for each in others], title)
        for where, comparison, each in zip(axes, compared, others, strict=False):
            where.set_yticks(range(len(each)), [one["contender"] for one in each], fontsize=8)
            where.axvline(1.0, color="#777777", linewidth=1.0, zorder=1)
            _ratio_axis(where, list(_values(each)))
            for height, one in enumerate(each):
                if one["contender"] in comparison["peers"] and comparison["ambition"] is not None:
                    where.plot([comparison["ambition"]] * 2, [height - 0.45, height + 0.45], zorder=2, **AMBITION_LOOK)
                for offset, measure in zip((-0.17, 0.17), MEASURES, strict=True):
                    _draw_ratio(where, one[measure], measure, height + offset)
        for where in axes[len(compared) - min(2, len(compared)) :]:
            where.set_xlabel("lab ÷ it", fontsize=8.5)
        handles = [
            Line2D([], [], color=LOOKS[name][0], marker=LOOKS[name][1], mfc=LOOKS[name][2], markersize=4.5, label=how)
            for name, how in MEASURES.items()
        ]
        handles += [Line2D([], [], label="a round", **ROUND_LOOK), Line2D([], [], label="ambition", **AMBITION_LOOK)]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), columnspacing=1.2)
    return figure


def _draw_ratio(axes: Axes, found: Json | None, measure: str, height: float) -> None:
    if not found or found["ratio"] is None:
        return
    colour, mark, face = LOOKS[measure]
    axes.plot(found["each"], [height] * len(found["each"]), zorder=3, **ROUND_LOOK)
    if found["kind"] != "none":
        axes.plot([found["low"], found["high"]], [height] * 2, color=colour, linewidth=1.6, zorder=4)
    axes.plot(found["ratio"], height, marker=mark, color=colour, markerfacecolor=face, markersize=4.0, zorder=5)


def _values(contenders: list[Json]) -> Iterator[float]:
    for each in contenders:
        for measure in MEASURES:
            if each[measure] and each[measure]["ratio"] is not None:
                yield from each[measure]["each"]
                yield from (each[measure]["low"], each[measure]["high"]) if each[measure]["kind"] != "none" else ()


def _ratio_axis(axes: Axes, values: list[float]) -> None:
    low, high = min([0.85, *values]) / 1.1, max([1.2, *values]) * 1.1
    ticks = (0.5, 0.7, 1, 1.5, 2, 3) if high / low < 6 else (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{value:g}"))


# ---- CPU time -----------------------------------------------------------------------------------------------


def cpu_time(results: Json, title: str) -> Figure:
    """CPU µs an answer, user and system, of each generator; dots are rounds."""
    compared = singles(results)
    known = [[each for each in one["contenders"] if each["user_us"] is not None] for one in compared]
    with storm_style():
        figure, axes = panels(compared, [max(1, len(each)) for each in known], title)
        for where, comparison, contenders in zip(axes, compared, known, strict=False):
            where.set_yticks(range(len(contenders)), [one["contender"] for one in contenders], fontsize=8)
            rounds_us = totals_us(results, comparison["name"])
            totals = {name: max(each) for name, each in rounds_us.items() if each}
            most = max(totals.values(), default=1.0)
            rest = max((us for name, us in totals.items() if name != results["python_engine"]), default=most)
            if most > CUT_OFF * rest:
                most = 1.5 * rest  # else one bar would be all there is to see
            where.set_xlim(0, 1.2 * most)
            for height, each in enumerate(contenders):
                left = 0.0
                for time, (colour, hatch) in TIMES.items():
                    where.barh(height, each[f"{time}_us"], 0.62, left=left, color=colour, hatch=hatch, **EDGE)
                    left += each[f"{time}_us"]
                mine = [us for us in rounds_us[each["contender"]] if us <= 1.2 * most]
                where.plot(mine, [height] * len(mine), **{**ROUND_LOOK, "color": "#000000"})
                if left <= 1.2 * most:
                    where.text(max([left, *mine]) + 0.02 * most, height, f"{left:.3g}", va="center", fontsize=8)
                else:
                    box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
                    where.text(1.18 * most, height, f"{left:.3g} →", va="center", ha="right", fontsize=8, bbox=box)
        for where in axes[len(compared) - min(2, len(compared)) :]:
            where.set_xlabel("CPU µs an answer", fontsize=8.5)
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


def lateness(results: Json, comparison: Json, title: str) -> Figure:
    """Share of an open loop's requests that were issued later than a time after their slot: of each generator the
    median of its rounds, and between which times all of them are."""
    with storm_style():
        figure, axes = plt.subplots(figsize=(WIDTH_IN, 3.3), layout="constrained")
        ends: list[float] = []
        for (name, rounds), (colour, line) in zip(late_rounds(results, comparison).items(), LATE_LOOKS, strict=False):
            shares = _later(rounds[0], comparison["clients"])
            curves = np.array([np.maximum(list(late.values()), 1.0) / 1000 for late in rounds])
            axes.fill_betweenx(shares, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0)
            axes.plot(np.median(curves, axis=0), shares, color=colour, linestyle=line, label=name, linewidth=1.6)
            ends += [float(curves.min()), float(curves.max())]
        wanted_ms = results["late_p99_us_wanted"] / 1000
        axes.plot([wanted_ms] * 2, [0.01, 1.0], label="ambition: 1 % at most later than this", **AMBITION_LOOK)
        axes.axhline(0.01, color="#777777", linewidth=0.8, zorder=1)
        log_time_axis(axes, min([*ends, wanted_ms]) / 1.3, max([*ends, wanted_ms]) * 1.3)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, position: f"{100 * value:g} %"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("issued this much later than due, or more")
        axes.set_ylabel("share of all requests")
        axes.legend(loc="lower left")
        headline(figure, title)
    return figure


def _later(late: dict[str, float], requests: int) -> list[float]:
    """What share is later than each quantile; of the latest that is itself."""
    return [1 / requests if name == "max" else 1 - float(name[1:]) / 100 for name in late]


# ---- all of them --------------------------------------------------------------------------------------------


def figures(results: Json) -> dict[str, tuple[Callable[[], Any], str, str]]:
    """Name → how it is drawn, its caption, its alternative text; without those that there are no data for."""
    found: dict[str, tuple[Callable[[], Any], str, str]] = {}
    method = f"{results['rounds']:,} interleaved rounds, 1 against 1, measured {day(results)}."
    ones = [one for one in decided(results) if one.measure in MEASURES]
    if ones and (spoken := spoken_ratios(results)):
        title = finding(results)
        caption = (
            "Marks: geometric mean of the rounds' ratios lab ÷ other generator; right of 1 the lab is faster. Lines: "
            f"{percent(results['confidence'])} intervals by Student's t on the logarithms. {method}"
        )
        found["ratios"] = (lambda: ratios(results, title), caption, f"Ratios lab ÷ other generator. {spoken}.")
    shares = [
        (one["kind"], lab["user_share"]["mean"])
        for one in singles(results)
        if (lab := lab_of(results, one))["user_share"]
    ]
    if shares:
        kernel = [1 - own for _, own in shares]
        found["cpu"] = (
            lambda: cpu_time(
                results, f"{share(min(kernel))} to {share(max(kernel))} of the lab's CPU time is the kernel's"
            ),
            f"CPU time an answer, medians of the rounds, user and system stacked; dots: rounds. {method}",
            f"Bars: CPU time an answer, user and system. {spoken_cpu(results)}.",
        )
    for number, one in enumerate(open_loops(results)):
        if late := late_rounds(results, one):
            spoken = "; ".join(
                f"{name}: half at most {in_us(_middle(rounds, 'p50'))} late, 99 % {in_us(_middle(rounds, 'p99'))}"
                for name, rounds in late.items()
            )
            first, rounds = next(iter(late.items()))
            late_title = f"99 % of the requests of the {first} leave at most {in_us(_middle(rounds, 'p99'))} late"
            found["lateness" + (f"-{number + 1}" if number else "")] = (
                partial(lateness, results, one, late_title),
                f"{one['title'].capitalize()}: how late each of {one['clients']:,} requests was issued; the last "
                "point is the latest. Lines: medians of the rounds; areas: all rounds. Of others than the lab "
                f"the request that was least late counts as on time. {method}",
                f"Share of the requests of an open loop that left later than a time after their slot. {spoken}.",
            )
    return found


def finding(results: Json) -> str:
    """Where the lab's rate is above that of the fastest other, and where below, by more than a tenth."""
    by: dict[str, list[str]] = {"ahead": [], "behind": []}
    near = False
    for one in singles(results):
        if (ratio := least_ratio(one)) is not None:
            if abs(ratio - 1) < 0.1:
                near = True
            else:
                by["ahead" if ratio > 1 else "behind"].append(one["kind"])
    parts = [f"{how}: {and_list(kinds)}" for how, kinds in by.items() if kinds]
    parts += ["elsewhere within 10 %" if parts else "within 10 % of the fastest"] if near else []
    return f"By rate the lab is {'; '.join(parts)}"


def least_ratio(comparison: Json) -> float | None:
    """The lab's rate over that of the fastest generator of others, an ambition's or not."""
    others = (each for each in comparison["contenders"] if each["contender"] not in (LAB, PYTHON_ENGINE))
    ratios = (each["by_rate"]["ratio"] for each in others if each["by_rate"])
    return min((float(ratio) for ratio in ratios if ratio is not None), default=None)


def _middle(rounds: list[dict[str, float]], name: str) -> float:
    return float(np.median([late[name] for late in rounds]))


def spoken_ratios(results: Json) -> str:
    """Of each load the ratios by rate."""
    found = []
    for one in singles(results):
        said = [
            f"{each['contender']} {each['by_rate']['ratio']:.2f}"
            for each in one["contenders"]
            if each["by_rate"] and each["by_rate"]["ratio"] is not None
        ]
        if said:
            found.append(f"{against(one)}: {and_list(said)}")
    return "; ".join(found)


def spoken_cpu(results: Json) -> str:
    return "; ".join(
        f"{one['kind']}: "
        + and_list(
            f"{each['contender']} {each['user_us'] + each['system_us']:.3g} µs"
            for each in one["contenders"]
            if each["user_us"] is not None
        )
        for one in singles(results)
        if any(each["user_us"] is not None for each in one["contenders"])
    )
