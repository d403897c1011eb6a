"""The article's claims as ``claims.toml`` has them: what each says, and the propositions by which it is decided."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.thought.proposition import Asked

MOST_CORE = 3
FILE = Path(__file__).with_name("claims.toml")


@dataclass(frozen=True, slots=True)
class Sentence:
    """What its author says of a claim, with ``{name}`` for the number of a proposition of it.

    ``stands_on`` says of propositions whether they held when it was written (null: not decided).
    """

    text: str
    zh: str
    stands_on: Mapping[str, bool | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """One sentence of the article, the notebook that puts it to the test, and the figures there that show it."""

    name: str
    says: str
    says_zh: str
    notebook: str
    figures: tuple[str, ...]
    asked: tuple[Asked, ...]
    sentence: Sentence
    instead: str
    """What the article might say, and its reader do."""
    instead_zh: str


def load(path: Path = FILE) -> dict[str, Claim]:
    """All claims by name, in the order in which they are told."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _claim(name, entry) for name, entry in document.items()}


def _claim(name: str, entry: Mapping[str, Any]) -> Claim:
    asked = tuple(Asked(f"{name}.{short}", **one) for short, one in entry["proposition"].items())
    said = entry["sentence"]
    return Claim(
        name,
        entry["says"],
        entry["says_zh"],
        entry["notebook"],
        tuple(entry["figures"]),
        asked,
        Sentence(said["text"], said["zh"], {of: AS_WRITTEN[holds] for of, holds in said["stands_on"].items()}),
        entry["instead"],
        entry["instead_zh"],
    )


AS_WRITTEN: Mapping[Any, bool | None] = {True: True, False: False, "not decided": None}
"""TOML has no null."""

CLAIMS = load()
