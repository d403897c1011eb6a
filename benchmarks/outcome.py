"""What came of the trials: of each contender medians over rounds, and the lab's speed over its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from arena import HOST, PORT
from contenders import LAB, PYTHON_ENGINE, TOOLS
from harness.plan import Server
from harness.thought.inference import FEWEST_RUNS, mean_share, paired_ratio
from loads import Comparison, lab_command

Trial = dict[str, Any]
"""One trial as it is kept: round, comparison, contender, and what arena.py measured, or an ``error``."""
LAB_NAMES = (LAB, PYTHON_ENGINE)


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the trials happen: the same for all."""

    server: Server
    server_cpus: tuple[int, ...]
    client_cpus: tuple[int, ...]
    folder: Path
    engine: str
    """That of the lab."""

    def client_cpus_of(self, processes: int) -> tuple[int, ...]:
        """As many as there are processes or threads: none can wander, and none has more than another."""
        return self.client_cpus[:processes]


def commands(comparison: Comparison, contender: str, engine: str) -> list[str]:
    """What is run, one line for each process, as a reader would type it."""
    if contender in LAB_NAMES:
        return [
            lab_command(comparison.load_of(contender), comparison.processes, engine if contender == LAB else "python")
        ]
    lines = TOOLS[contender].commands(comparison.load, comparison.processes)
    url = f"http://{HOST}:{PORT}{comparison.load.path}"
    return [line.format(url=url, port=PORT, start_ns="START_NS", folder=".") for line in lines]


def size(comparison: Comparison, contender: str, engine: str) -> str:
    processes = comparison.processes
    if contender not in LAB_NAMES:
        processes = len(commands(comparison, contender, engine))
    return f"{processes} × {comparison.processes // processes}"


def rate(trial: Trial) -> float:
    """Answers a second from the first issue to the last answer."""
    return float(trial["answered"] / trial["seconds"]) if trial["seconds"] else 0.0


def per_cpu_s(trial: Trial) -> float:
    """Answers for a second of the generator's CPU: what is left of the rate where others had the CPUs too."""
    used_s = trial["cpu_user_s"] + trial["cpu_system_s"]
    return float(trial["answered"] / used_s) if used_s > 0 else 0.0


def user_share(trial: Trial) -> float | None:
    """Of the generator's CPU time what it spent itself, and not the kernel for it."""
    used_s = trial["cpu_user_s"] + trial["cpu_system_s"]
    return float(trial["cpu_user_s"] / used_s) if used_s > 0 else None


def ratio(speed: Callable[[Trial], float], lab: list[Trial], other: list[Trial]) -> dict[str, Any]:
    """The lab's speed over the other's, paired within each round in which both answered something.

    Geometric mean of the rounds' ratios, which are in ``each``, and its 95 % interval by Student's t on their
    logarithms; what fewer rounds allow says ``kind``.
    """
    speeds = [{trial["round"]: speed(trial) for trial in trials if speed(trial)} for trials in (lab, other)]
    paired = [number for number in speeds[0] if number in speeds[1]]
    each = [speeds[0][number] / speeds[1][number] for number in paired]
    found: dict[str, Any] = {"rounds": len(paired), "ratio": None, "low": None, "high": None, "kind": "none"}
    if len(paired) >= FEWEST_RUNS:
        said = paired_ratio(*([by_round[number] for number in paired] for by_round in speeds)).ratio
        found |= {"ratio": said.value, "low": said.low, "high": said.high, "kind": said.kind}
    elif paired:
        found["ratio"] = float(np.exp(np.mean(np.log(each))))
    return {**found, "each": each}


def others(trial: Trial, comparison: Comparison, ground: Ground) -> float | None:
    """Share that everybody else had of the server's or the generators' CPUs, the larger."""
    if not trial.get("seconds"):
        return None
    clients_s = trial["others_cpu_s"] / len(ground.client_cpus_of(comparison.processes))
    return float(max(clients_s, trial["others_server_cpu_s"] / len(ground.server_cpus)) / trial["seconds"])


def summary(comparison: Comparison, contender: str, trials: list[Trial], ground: Ground) -> dict[str, Any]:
    """One contender of one comparison, over all rounds: medians, its ratio, and what went wrong."""
    mine = [trial for trial in trials if trial["comparison"] == comparison.name and "error" not in trial]
    done = [trial for trial in mine if trial["contender"] == contender]
    lab = [trial for trial in mine if trial["contender"] == LAB]

    def median(values: list[float]) -> float | None:
        return float(np.median(values)) if values else None

    some = [trial for trial in done if trial["answered"] and trial["seconds"]]
    return {
        "contender": contender,
        "commands": commands(comparison, contender, ground.engine),
        "processes_threads": size(comparison, contender, ground.engine),
        "rate_per_s": median([rate(trial) for trial in some]),
        "user_us": median([1e6 * trial["cpu_user_s"] / trial["answered"] for trial in some]),
        "system_us": median([1e6 * trial["cpu_system_s"] / trial["answered"] for trial in some]),
        "user_share": shared([share for trial in some if (share := user_share(trial)) is not None]),
        "server_busy": median([trial["server_cpu_s"] / trial["seconds"] / len(ground.server_cpus) for trial in some]),
        "others": median([share for trial in some if (share := others(trial, comparison, ground)) is not None]),
        "failed": sum(trial["failed"] for trial in done),
        "lateness_us": late(some),
        "by_rate": None if contender == LAB else ratio(rate, lab, done),
        "by_cpu": None if contender == LAB else ratio(per_cpu_s, lab, done),
    }


def shared(shares: list[float]) -> dict[str, float | None] | None:
    """Mean of the rounds' shares and its 95 % interval, where there are rounds enough."""
    if not shares:
        return None
    found = mean_share(shares)
    known = np.isfinite(found.low)
    return {"mean": found.value, "low": found.low if known else None, "high": found.high if known else None}


def late(trials: list[Trial]) -> dict[str, dict[str, float]] | None:
    """Of the rounds' quantiles of lateness the median and the worst, in µs."""
    rounds = [trial["lateness_us"] for trial in trials if trial.get("lateness_us")]
    if not rounds:
        return None
    return {
        name: {"median": float(np.median(values)), "worst": float(max(values))}
        for name in rounds[0]
        if (values := [each[name] for each in rounds])
    }


def remarks(comparison: Comparison, trials: list[Trial]) -> list[str]:
    """What the table's numbers do not say of themselves: rounds that were not clean."""
    found = []
    for trial in (one for one in trials if one["comparison"] == comparison.name):
        where = f"round {trial['round']}, {trial['contender']}"
        if "error" in trial:
            found.append(f"{where}: {trial['error']}")
            continue
        if trial["failed"]:
            found.append(f"{where}: {trial['failed']:,} requests failed")
        if trial["syns_resent"]:
            found.append(f"{where}: {trial['syns_resent']:,} SYNs sent again, each a second or more of waiting")
        if comparison.load.carries_one and trial["connections"] < trial["answered"]:
            found.append(f"{where}: {trial['connections']:,} connections for {trial['answered']:,} answers")
    return found
