"""Plan files: TOML with the options that all trials share, those that are varied, and named sets of them."""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.errors import PlanError
from harness.plan.option import require

MOST_TRIALS = 10_000
"""Of one plan file: at a second each they take three hours."""


def read_document(path: Path, what: str, examples: str) -> dict[str, Any]:
    """The content of a TOML file, called ``what`` in errors, with where there are ``examples`` of it.

    Raises:
        PlanError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read the {what} {path}: {error.strerror}", "give the path of a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"the {what} {path} is not valid TOML: {error}", f"see {examples} for examples") from error


def table(path: Path, document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The table of a file with that name, empty where there is none. Raises PlanError where it is no table."""
    found = document.get(key, {})
    require(isinstance(found, dict), f"{key} in {path} must be a table, [{key}], not {found!r}")
    return found  # type: ignore[no-any-return]


def read_variants(
    path: Path, changes: Mapping[str, Any] | None = None, keys: Sequence[str] = ()
) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
    """(the document of a plan file, with its ``question``, ``repeats`` and ``keep_rows``; (variant, options) of each of
    its trials). ``changes`` are merged into it table by table; ``keys`` are what it may have beside the usual.

    Raises:
        PlanError: the file cannot be read, is not TOML, or is not a plan.
    """
    read = read_document(path, "plan", "plans/")
    document = {"question": "", "repeats": 1, "keep_rows": 0, **_merge(read, changes or {})}
    require("scenario" not in document, f"the plan {path} says [scenario.NAME]; that is [variant.NAME] now")
    unknown = set(document) - {"question", "repeats", "keep_rows", "base", "vary", "variant", *keys}
    require(not unknown, f"the plan {path} has unknown keys: {', '.join(sorted(unknown))}")
    for name, least in (("repeats", 1), ("keep_rows", 0)):
        whole = isinstance(document[name], int) and not isinstance(document[name], bool) and document[name] >= least
        require(whole, f"{name} in {path} must be a whole number from {least}, not {document[name]!r}")
    require(isinstance(document["question"], str), f"question in {path} must be a text, not {document['question']!r}")
    base, vary, variants = (table(path, document, key) for key in ("base", "vary", "variant"))
    require(bool(base or vary or variants), f"the plan {path} says nothing of its storms; [base] says of all of them")
    for option, values in vary.items():
        lists = isinstance(values, list) and bool(values)
        require(lists, f"[vary] {option} in {path} must be a list with values in it, not {values!r}")
        twice = [value for number, value in enumerate(values) if any(_same(value, one) for one in values[:number])]
        require(not twice, f"[vary] {option} in {path} has {twice and twice[0]!r} twice; repeats says how often")
    trials = math.prod(map(len, vary.values())) * max(1, len(variants))
    require(trials <= MOST_TRIALS, f"the plan {path} comes to {trials} trials; {MOST_TRIALS} are the most")
    combined = [
        (name, {**base, **table(path, variants, name), **dict(zip(vary, values, strict=True))})
        for name in variants or {"": {}}
        for values in itertools.product(*vary.values())
    ]
    return document, combined


def _same(value: Any, other: Any) -> bool:
    """Whether they are one value; true is 1 to Python only."""
    return bool(value == other) and isinstance(value, bool) is isinstance(other, bool)


def _merge(document: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(document)
    for key, value in changes.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged
