"""What the results of the benchmarks say: which ambitions are reached, who was late, who had the CPUs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from page_words import Json, in_us, percent, share

MEASURES = {"by_rate": "by rate", "by_cpu": "by CPU time"}


def verdict(found: Json | None, ambition: float | None) -> str | None:
    """Whether an ambition is reached: ``undecided`` where the interval contains it, or there is none; None where
    nothing is known."""
    if not found or found["ratio"] is None or ambition is None:
        return None
    if found["kind"] == "none":
        return "undecided"
    return "reached" if found["low"] >= ambition else "missed" if found["high"] < ambition else "undecided"


def pairs(results: Json) -> list[tuple[Json, Json]]:
    """Every comparison with every generator that the lab was compared with in it."""
    return [
        (one, each)
        for one in results["comparisons"]
        for each in one["contenders"]
        if each["contender"] != results["lab"]
    ]


def best_peer(comparison: Json, measure: str) -> Json | None:
    """Of those whose speed the ambition is about the fastest: the one of which the lab's speed is the least part."""
    peers = [
        each
        for each in comparison["contenders"]
        if each["contender"] in comparison["peers"] and each[measure] and each[measure]["ratio"] is not None
    ]
    return min(peers, key=lambda each: float(each[measure]["ratio"]), default=None)


def faster_others(results: Json) -> list[tuple[Json, str]]:
    """Who is faster by rate than the lab, the whole interval says, and no ambition names."""
    return [
        (one, f"{each['contender']} {ratio_text(each['by_rate'])}, by CPU time {ratio_text(each['by_cpu'])}")
        for one, each in pairs(results)
        if each["contender"] not in one["peers"]
        and each["by_rate"]
        and each["by_rate"]["kind"] != "none"
        and each["by_rate"]["high"] < 1
    ]


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of one ambition."""

    load: str
    wanted: str
    found: str
    verdict: str
    measure: str
    """``by_rate``, ``by_cpu``, ``late`` or ``own``."""

    @property
    def line(self) -> str:
        return f"{self.found}: {self.verdict}"


def decided(results: Json) -> list[Decided]:
    """Every ambition that something is known of."""
    found = []
    for one in results["comparisons"]:
        for measure in MEASURES:
            peer = best_peer(one, measure)
            if peer is not None and (said := verdict(peer[measure], one["ambition"])):
                text = f"{ratio_text(peer[measure])} of {peer['contender']}"
                found.append(Decided(against(one), f"≥ {one['ambition']:.2f}", text, said, measure))
    for one in results["comparisons"]:
        if one["rate"] is not None and (late := lab_of(results, one)["lateness_us"]) is not None:
            limit, median, worst = results["late_p99_us_wanted"], late["p99"]["median"], late["p99"]["worst"]
            said = "reached" if worst < limit else "missed" if median >= limit else "undecided"
            text = f"{in_us(median)}; worst round {in_us(worst)}"
            found.append(Decided(against(one), f"lateness p99 < {in_us(limit)}", text, said, "late"))
    for one in results["comparisons"]:
        own, limit = lab_of(results, one)["user_share"], results["user_share_wanted"]
        if own is not None and one["processes"] == 1:
            low, high = own["low"], own["high"]
            said = (
                "undecided" if low is None else "reached" if high <= limit else "missed" if low > limit else "undecided"
            )
            interval = "" if low is None else f" ({share(low, 1)} to {share(high, 1)})"
            wanted = f"own share ≤ {percent(limit)}"
            found.append(Decided(against(one), wanted, f"{share(own['mean'], 1)}{interval}", said, "own"))
    return found


def ratio_text(found: Json) -> str:
    interval = "" if found["kind"] == "none" else f" ({found['low']:.2f} to {found['high']:.2f})"
    return f"{found['ratio']:.2f}{interval}"


def against(comparison: Json) -> str:
    """What kind of load it is, and how many processes: ``storm, 1 against 1``."""
    return f"{comparison['kind']}, {comparison['processes']} against {comparison['processes']}"


def grouped(said: Iterable[tuple[Json, str]]) -> str:
    """Things said of comparisons, by comparison: ``storm, 1 against 1: this, that; …``."""
    found: dict[str, list[str]] = {}
    for one, what in said:
        found.setdefault(against(one), []).append(what)
    return "; ".join(f"{where}: {', '.join(what)}" for where, what in found.items())


def lab_of(results: Json, comparison: Json) -> Json:
    return next(each for each in comparison["contenders"] if each["contender"] == results["lab"])


def engines(results: Json) -> list[tuple[Json, Json]]:
    """Each comparison of the lab with its engine in Python, and what that came to."""
    return [
        (one, each)
        for one, each in pairs(results)
        if each["contender"] == results["python_engine"] and each["by_rate"] and each["by_rate"]["ratio"] is not None
    ]


def late_rounds(results: Json, comparison: Json) -> dict[str, list[dict[str, float]]]:
    """Of each generator of an open loop that says it: the rounds' lateness in µs at each quantile."""
    found: dict[str, list[dict[str, float]]] = {}
    for trial in results["trials"]:
        if trial["comparison"] == comparison["name"] and trial.get("lateness_us"):
            found.setdefault(trial["contender"], []).append(trial["lateness_us"])
    order = [each["contender"] for each in comparison["contenders"]]
    return {name: found[name] for name in order if name in found}


def open_loops(results: Json) -> list[Json]:
    return [one for one in results["comparisons"] if one["rate"] is not None]


def above(results: Json, name: str, limit: float) -> list[tuple[Json, str]]:
    """Who had a larger share of the CPUs than ``limit``, in which comparison, and how large it was."""
    return [
        (one, f"{each['contender']} ({share(each[name])})")
        for one in results["comparisons"]
        for each in one["contenders"]
        if (each[name] or 0) > limit
    ]


def too_few(results: Json) -> bool:
    return bool(results["quick"] or results["rounds"] < results["rounds_wanted"])
