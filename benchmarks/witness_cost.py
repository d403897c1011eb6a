"""What watching costs: the same load with and without each witness, interleaved; ratios with 95 % intervals.

``python benchmarks/witness_cost.py [--rounds N] [--export]``. A closed loop of new connections on CPUs of its own:
anything that takes time from the server, the clients or the kernel shows as fewer answers a second.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track

import page
from harness.machine.host import this_host
from harness.page.tables import print_rows
from harness.plan import trial_from_options
from harness.servers.catalogue import catalogue
from harness.thought.inference import paired_ratio
from harness.thought.summary import Summary
from harness.trial.caller import run_trial

WITNESSES = {"stamps": False, "probe": False, "ledger": False}
"""Each with the value that turns it off."""
LOAD = {"clients": 20_000, "concurrency": 100, "cpu": "disjoint"}
COLUMNS = ("witness", "answers/s", "ratio", "95 % interval")


def variants() -> dict[str, dict[str, bool]]:
    """What is switched off in each: everything, everything but one, nothing."""
    with_one = {name: {other: off for other, off in WITNESSES.items() if other != name} for name in WITNESSES}
    return {"none": dict(WITNESSES), **with_one, "all": {}}


def measure(server: str, rounds: int) -> dict[str, list[float]]:
    """Seconds that a connection took in each round, by variant."""
    seconds: dict[str, list[float]] = {name: [] for name in variants()}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in track(range(rounds), description=f"{server}, {rounds} rounds", transient=True):
            for name in random.sample(list(seconds), len(seconds)):
                trial = trial_from_options({"server": server, **LOAD, **variants()[name]})
                rate = Summary(run_trial(trial, Path(scratch))).throughput_per_s
                seconds[name].append(1 / rate if rate else float("nan"))
    return seconds


def result(server: str, seconds: dict[str, list[float]]) -> dict[str, Any]:
    rows = []
    for name, took in seconds.items():
        found = paired_ratio(took, seconds["none"]).ratio
        interval = f"{found.low:.3f} to {found.high:.3f}"
        rows.append([name, f"{1 / np.median(took):,.0f}", f"{found.value:.3f}", interval])
    return {"server": server, "host": this_host().caption, "rounds": len(seconds["none"]), "load": LOAD, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--export", action="store_true", help="into the benchmarks' page")
    asked = parser.parse_args()
    server = "hyper" if catalogue()["hyper"].missing is None else "python"
    found = result(server, measure(server, asked.rounds))
    print(f"{server}: time a connection takes, against without any witness; {asked.rounds} interleaved rounds")
    print_rows(COLUMNS, found["rows"], right=COLUMNS[1:3])
    if asked.export:
        page.WITNESSES.write_text(json.dumps(found, indent=1) + "\n")
        page.main([])


if __name__ == "__main__":
    main()
