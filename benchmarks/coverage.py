"""How often intervals contain the truth, how often nothing is called something, and what each plan can see.

Data are simulated, so the truth is known: ``--export`` writes ``docs/statistics.md``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness import PROJECT, load_plan
from harness.events.store import write_whole
from harness.plan import PLANS, Plan
from harness.thought.comparing import MATTERS
from harness.thought.deciding import FEWEST_TO_DECIDE, decide, difference_of
from harness.thought.inference import Interval, mean_of_runs, mean_share, smallest_detectable_ratio

PAGE = PROJECT / "docs" / "statistics.md"
RUNS, REPEATS, SEED = (3, 5, 6, 10, 20), 4_000, 20_261_127
SHARE, CPU, TIME = "a share of clients", "CPU time per answer", "a time or a rate"
SPREADS: Mapping[str, tuple[float, float]] = {SHARE: (0.02, 0.1), CPU: (0.02, 0.1), TIME: (0.1, 0.3)}
"""Between blocks, where a storm is calm and where it is a race: standard deviations of a difference of shares, or of a
log ratio."""
CORE: Mapping[str, str] = {
    "01-equal-rate": CPU,
    "01-kept-connections": TIME,
    "03-": CPU,
    "05-files-recovery": TIME,
    "06-kernel-fast-open": TIME,
    "06-kernel-ports": TIME,
    "06-kernel-settings": TIME,
    "06-kernel-unstopped": TIME,
    "09-accept-batches": CPU,
    "09-balancer": TIME,
    "07-cold-pool": TIME,
    "07-few-connections": TIME,
    "07-http2": TIME,
    "09-mitigations": TIME,
    "07-pools": TIME,
}
"""What the core question of a plan is asked of, by how its name begins; of all others it is a share of clients."""
Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]


def _ratios(values: Floats) -> Interval:
    """As :func:`paired_ratio` has it, without its test, which counts thousands of permutations."""
    found = mean_of_runs(np.log(values).tolist())
    return Interval(*np.exp([found.value, found.low, found.high]).tolist(), found.runs)


KINDS: Mapping[str, tuple[Draw, float, Callable[[Floats], Interval]]] = {
    "normal, mean": (lambda draw, runs: draw.normal(10, 2, runs), 10.0, lambda v: mean_of_runs(v.tolist())),
    "skewed, ratio": (lambda draw, runs: draw.lognormal(0.2, 0.6, runs), float(np.exp(0.2)), _ratios),
    "share near a half": (lambda draw, runs: draw.beta(8, 8, runs), 0.5, lambda v: mean_share(v.tolist())),
    "share near none": (lambda draw, runs: draw.beta(4, 76, runs), 0.05, lambda v: mean_share(v.tolist())),
    "share near all": (lambda draw, runs: draw.beta(76, 4, runs), 0.95, lambda v: mean_share(v.tolist())),
}
"""What is drawn, the truth, and the interval that is told of it."""


def coverage(kind: str, runs: int, repeats: int = REPEATS) -> float:
    """How often the interval of so many runs contains the truth."""
    draw, truth, interval = KINDS[kind]
    random = np.random.default_rng([SEED, runs])
    found = (interval(draw(random, runs)) for _ in range(repeats))
    return float(np.mean([one.low <= truth <= one.high for one in found]))


def false_alarms(runs: int, repeats: int = 400) -> float:
    """How often two groups from the same source are decided to differ, either way: a margin of nothing."""
    random = np.random.default_rng([SEED, runs])
    groups = (random.beta(30, 20, (2, runs)) for _ in range(repeats))
    return float(np.mean([decide(difference_of(*group), 0.0).holds is not None for group in groups]))


def smallest_decided(measure: str, spread: float, runs: int) -> str:
    """The smallest difference that so many runs decide four times of five: beyond what matters, by its interval."""
    beyond = smallest_detectable_ratio(spread, runs)
    if measure == SHARE:
        return f"{(MATTERS + np.log(beyond)) * 100:.0f} pp"
    return f"× {(1 + MATTERS) * beyond:.2f}"


def power(plan: Plan) -> str:
    """A plan's row: its core question, what that is asked of, runs of a kind, and what these decide."""
    measure = next((of for name, of in CORE.items() if plan.name.startswith(name)), SHARE)
    enough = max(plan.repeats, FEWEST_TO_DECIDE)
    seen = [smallest_decided(measure, spread, enough) for spread in SPREADS[measure]]
    if plan.repeats < FEWEST_TO_DECIDE:
        seen = [f"none ({enough} runs: {each})" for each in seen]
    return f"| {plan.name} | {plan.question} | {measure} | {plan.repeats} | {' | '.join(seen)} |"


def page() -> str:
    """The text of ``docs/statistics.md``."""
    head = "| of | " + " | ".join(f"{runs} runs" for runs in RUNS) + " |\n|---|" + "--:|" * len(RUNS)
    rows = "\n".join(
        f"| {kind} | " + " | ".join(f"{coverage(kind, runs):.1%}" for runs in RUNS) + " |" for kind in KINDS
    )
    alarms = ", ".join(f"{false_alarms(runs):.1%} of {runs} runs a side" for runs in (6, 10))
    plans = "\n".join(power(load_plan(path)) for path in sorted(PLANS.glob("*.toml")))
    spreads = "; ".join(f"{measure} {low:.0%} and {high:.0%}" for measure, (low, high) in SPREADS.items())
    return f"""\
# Statistics

Generated by `benchmarks/coverage.py --export`, from simulated data, of which the truth is known.

## How often an interval contains the truth

Called 95 %; of fewer than six runs it is the range, and is called so. {REPEATS:,} draws each.

{head}
{rows}

## How often nothing is called something

Two groups from the same source, a margin of nothing: {alarms}.

## What each plan can decide

The smallest difference that its runs of a kind decide four times of five: the whole 95 % interval beyond what matters,
which is {MATTERS:.0%} of all clients or a ratio of {1 + MATTERS}. Of fewer than {FEWEST_TO_DECIDE} runs nothing is
decided by that rule. Worked out before any data are looked at, for two standard deviations between blocks, where storms
are calm and where they are a race: {spreads}. A plan of one run a kind takes its repeats from the command line.

| plan | core question | asked of | runs of a kind | calm | a race |
|---|---|---|--:|--:|--:|
{plans}
"""


def main() -> None:
    text = page()
    if "--export" in sys.argv[1:]:
        write_whole(Path(PAGE), text)
    print(text)


if __name__ == "__main__":
    main()
