"""What watching costs: the same load with and without each witness, interleaved; ratios with 95 % intervals.

``python benchmarks/witness_cost.py [ROUNDS]``. A closed loop of new connections on CPUs of its own: anything that takes
time from the server, the clients or the kernel shows as fewer answers a second.
"""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import numpy as np
from rich.progress import track

from harness.plan import trial_from_options
from harness.report.tables import print_rows
from harness.servers.catalogue import catalogue
from harness.summary import Summary
from harness.trial import run_trial

WITNESSES = {"stamps": False, "probe": False, "ledger": False}
"""Each with the value that turns it off."""
LOAD = {"clients": 20_000, "concurrency": 100, "cpu": "disjoint"}
RESAMPLES = 10_000


def variants() -> dict[str, dict[str, bool]]:
    """What is switched off in each: everything, everything but one, nothing."""
    with_one = {name: {other: off for other, off in WITNESSES.items() if other != name} for name in WITNESSES}
    return {"none": dict(WITNESSES), **with_one, "all": {}}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    server = "hyper" if catalogue()["hyper"].missing is None else "python"
    measured: dict[str, list[float]] = {name: [] for name in variants()}
    with tempfile.TemporaryDirectory() as scratch:
        for _ in track(range(rounds), description=f"{server}, {rounds} rounds", transient=True):
            for name in random.sample(list(measured), len(measured)):
                trial = trial_from_options({"server": server, **LOAD, **variants()[name]})
                measured[name].append(Summary(run_trial(trial, Path(scratch))).throughput_per_s or float("nan"))
    rows = []
    for name in measured:
        ratios = np.array(measured["none"]) / np.array(measured[name])
        means = np.random.default_rng(1).choice(ratios, (RESAMPLES, rounds)).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        rows.append((name, f"{np.median(measured[name]):,.0f}", f"{ratios.mean():.3f}", f"{low:.3f} to {high:.3f}"))
    print(f"{server}: time a connection takes, against without any witness; {rounds} interleaved rounds, bootstrap")
    print_rows(("witness", "answers/s", "ratio", "95 % interval"), rows, right=("answers/s", "ratio"))


if __name__ == "__main__":
    main()
