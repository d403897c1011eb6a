"""Experiments as data: the trials of a plan file."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.errors import PlanError
from harness.plan.bounds import require
from harness.plan.options import trial_from_options
from harness.plan.trial import Trial

PLANS = Path(__file__).parents[2] / "plans"
"""The experiments of the collection, one file for each notebook."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An experiment: trials that are compared with each other, each repeated."""

    name: str
    question: str
    trials: tuple[Trial, ...]
    repeats: int = 1
    keep_rows: int = 0
    """Of each trial, how many runs keep their rows in the reference data, because a figure draws them."""
    names: tuple[str, ...] = ()
    """The scenario of each trial; empty where the plan has none."""
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
            self, trials=trials, names=tuple(itertools.compress(self.names, kept)), controls=controls
        )


_TABLES = ("base", "vary", "scenario", "control", "keep")


def load_plan(path: Path, changes: Mapping[str, Any] | None = None) -> Plan:
    """Read a plan file, with ``changes`` merged into it table by table.

    TOML with ``question``, ``repeats``, ``keep_rows``, ``[base]`` (options of every trial), ``[vary]`` (option → list
    of values; the trials are their product), ``[scenario.NAME]`` (sets of options, each crossed with the product), and
    options, or the ``scenario``, of trials that are run twice in each repeat (``[control]``) or alone keep their rows
    (``[keep]``).

    Raises:
        PlanError: the file cannot be read, is not TOML, or describes something impossible.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read the plan {path}: {error.strerror}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the plan {path} is not valid TOML: {error}", "see plans/ for examples") from error
    document = _merge(document, changes or {})
    unknown = set(document) - {"question", "repeats", "keep_rows", *_TABLES}
    require(not unknown, f"the plan {path} has unknown keys: {', '.join(sorted(unknown))}")
    base, vary, scenarios, control, keep = (_table(path, document, key) for key in _TABLES)
    for option, values in vary.items():
        lists = isinstance(values, list) and bool(values)
        require(lists, f"[vary] {option} in {path} must be a list with values in it, not {values!r}")
    combined = [
        (name, {**base, **scenario, **dict(zip(vary, values, strict=True))})
        for name, scenario in (scenarios or {"": {}}).items()
        for values in itertools.product(*vary.values())
    ]
    named = [(name, trial_from_options(options)) for name, options in combined]
    repeats, keep_rows = document.get("repeats", 1), document.get("keep_rows", 0)
    for name, value in (("repeats", repeats), ("keep_rows", keep_rows)):
        require(isinstance(value, int), f"{name} in {path} must be a number, not {value!r}")
    names, trials = zip(*named, strict=True)

    def chosen(key: str, options: Mapping[str, Any]) -> tuple[Trial, ...]:
        found = tuple(
            itertools.compress(
                trials, (options.items() <= {**every, "scenario": name}.items() for name, every in combined)
            )
        )
        require(bool(found), f"[{key}] in {path} is true of no trial; it is an option of some of them")
        return found

    twice, kept = chosen("control", control) if control else (), chosen("keep", keep) if keep else None
    return Plan(path.stem, str(document.get("question", "")), trials, repeats, keep_rows, names, twice, kept)


def _table(path: Path, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    table = document.get(key, {})
    require(isinstance(table, dict), f"{key} in {path} must be a table")
    return table  # type: ignore[no-any-return]


def _merge(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
