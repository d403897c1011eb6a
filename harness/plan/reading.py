"""TOML that a user writes: what is no TOML, or no table where one belongs, is a line and no traceback."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.errors import PlanError
from harness.plan.bounds import require


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
