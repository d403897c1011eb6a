"""Experiments as data: the trials of a plan file."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import PROJECT
from harness.errors import PlanError
from harness.plan.files import read_variants, table
from harness.plan.option import require
from harness.plan.options import trial_from_options
from harness.plan.trial import Trial

PLANS = PROJECT / "plans"
"""The experiments of the collection, one file for each notebook."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment: trials that are compared with each other, each repeated.

    >>> from harness import Server
    >>> backlogs = tuple(Trial(Server("hyper", backlog=asked)) for asked in (128, 4096))
    >>> Plan("mine", "Does a larger backlog help?", backlogs, repeats=6).repeats
    6
    """

    name: str
    question: str
    trials: tuple[Trial, ...]
    repeats: int = 1
    keep_rows: int = 0
    """Of each trial, how many runs keep their rows in the reference data, because a figure draws them."""
    variants: tuple[str, ...] = ()
    """The variant that each trial is of; empty where the plan has none."""
    controls: tuple[Trial, ...] = ()
    """Of the trials, those that each repeat holds twice: what differs between the two is noise."""
    kept: tuple[Trial, ...] | None = None
    """Of the trials, those to which ``keep_rows`` applies; None: to all."""

    def __post_init__(self) -> None:
        require(1 <= self.repeats <= 1000, f"repeats must be 1 to 1000, not {self.repeats}")

    @property
    def block(self) -> tuple[Trial, ...]:
        """What one repeat holds."""
        return self.trials + self.controls

    def rows_kept(self, trial: Trial) -> int:
        """Of one of its trials, how many runs keep their rows in the reference data."""
        return self.keep_rows if self.kept is None or trial in self.kept else 0

    def of_servers(self, names: Sequence[str]) -> Plan:
        """What is left of it for these servers; all of it where none is named."""
        kept = [not names or trial.server.name in names for trial in self.trials]
        trials = tuple(itertools.compress(self.trials, kept))
        controls = tuple(trial for trial in self.controls if trial in trials)
        return dataclasses.replace(
            self, trials=trials, variants=tuple(itertools.compress(self.variants, kept)), controls=controls
        )


def load_plan(path: Path, changes: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan file, with ``changes`` merged into it table by table.

    TOML with ``question``, ``repeats``, ``keep_rows``, ``[base]`` (options of every trial), ``[vary]`` (option → list
    of values; the trials are their product), ``[variant.NAME]`` (sets of options, each crossed with the product), and
    options, or the ``variant``, of trials that are run twice in each repeat (``[control]``) or alone keep their rows
    (``[keep]``).

    >>> load_plan(PLANS / "00-tour.toml").question
    'What happens to each of 4,000 connections when their server stands still for a second and a half?'

    Raises:
        PlanError: the file cannot be read, is not TOML, or describes something impossible.
    """
    document, combined = read_variants(path, changes, keys=("control", "keep"))
    try:
        trials = [trial_from_options(options, lambda one: one.name) for _, options in combined]
    except PlanError as error:
        raise PlanError(f"{error.message} (in {path})", error.next_step) from error
    control, keep = (table(path, document, key) for key in ("control", "keep"))

    def chosen(key: str, options: Mapping[str, Any]) -> tuple[Trial, ...]:
        held = (options.items() <= {**every, "variant": name}.items() for name, every in combined)
        found = tuple(itertools.compress(trials, held))
        require(bool(found), f"[{key}] in {path} is true of no trial; it is an option of some of them")
        return found

    variants = tuple(name for name, _ in combined)
    twice, kept = chosen("control", control) if control else (), chosen("keep", keep) if keep else None
    question, repeats, keep_rows = document["question"], document["repeats"], document["keep_rows"]
    return Plan(path.stem, question, tuple(trials), repeats, keep_rows, variants, twice, kept)
