"""What the results of the benchmarks say: which ambitions are reached, who was late, who had the CPUs."""

from __future__ import annotations

from collections.abc import Iterable

from page_words import Json, share


def verdict(found: Json | None, ambition: float | None) -> str | None:
    """Whether an ambition is reached: ``undecided`` where the interval contains it; None where nothing is known."""
    if not found or found["ratio"] is None or ambition is None:
        return None
    return "reached" if found["low"] >= ambition else "missed" if found["high"] < ambition else "undecided"


def pairs(results: Json) -> list[tuple[Json, Json]]:
    """Every comparison with every generator that the lab was compared with in it."""
    return [
        (one, each)
        for one in results["comparisons"]
        for each in one["contenders"]
        if each["contender"] != results["lab"]
    ]


def verdicts(results: Json, measure: str) -> dict[str, list[tuple[Json, str]]]:
    """Verdict → what was compared and with which generator, by rate or by CPU."""
    found: dict[str, list[tuple[Json, str]]] = {"reached": [], "missed": [], "undecided": []}
    for one, each in pairs(results):
        if said := verdict(each[measure], one["ambition"]):
            found[said].append((one, each["contender"]))
    return found


def kind(comparison: Json) -> str:
    """What kind of load it is, in a word or two."""
    if comparison["rate"] is not None:
        return "open loop"
    if comparison["concurrency"] is not None:
        return "closed loop"
    return "kept connections" if comparison["requests_per_client"] > 1 else "storm"


def against(comparison: Json) -> str:
    """What kind of load it is, and how many processes: ``storm, 1 against 1``."""
    return f"{kind(comparison)}, {comparison['processes']} against {comparison['processes']}"


def grouped(said: Iterable[tuple[Json, str]]) -> str:
    """Things said of comparisons, by comparison: ``storm, 1 against 1: this, that; …``."""
    found: dict[str, list[str]] = {}
    for one, what in said:
        found.setdefault(against(one), []).append(what)
    return "; ".join(f"{where}: {', '.join(what)}" for where, what in found.items())


def lab_of(results: Json, comparison: Json) -> Json:
    return next(each for each in comparison["contenders"] if each["contender"] == results["lab"])


def late_rounds(results: Json) -> dict[str, list[tuple[int, dict[str, float]]]]:
    """Of each open loop and each round: requests, and their lateness in µs at each quantile."""
    return {
        one["name"]: [
            (one["clients"] * one["requests_per_client"], trial["lateness_us"])
            for trial in results["trials"]
            if trial["comparison"] == one["name"] and trial.get("lateness_us")
        ]
        for one in results["comparisons"]
        if one["rate"] is not None
    }


def system_share(results: Json) -> tuple[float, float] | None:
    """Least and largest share that the kernel's time has of the lab's CPU time."""
    labs = [lab_of(results, one) for one in results["comparisons"]]
    shares = [lab["system_us"] / (lab["user_us"] + lab["system_us"]) for lab in labs if lab["user_us"] is not None]
    return (min(shares), max(shares)) if shares else None


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
