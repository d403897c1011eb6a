"""The front page's sentences, as ``front.toml`` has them: written by an author, each bound to its propositions."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.claims.claim import AS_WRITTEN
from analysis.claims.verdict import Verdict
from harness.page.numbers import briefly
from harness.thought.proposition import Proposition, said

FILE = Path(__file__).with_name("front.toml")


@dataclass(frozen=True, slots=True)
class Written:
    """A sentence, with ``{S2.fails}`` for the number of a proposition, and whether each it stands on then held."""

    text: str
    stands_on: Mapping[str, bool | None]
    zh: str = ""


@dataclass(frozen=True, slots=True)
class Front:
    findings: tuple[Written, ...]
    answers: Mapping[str, Written]
    """By notebook, in reading order."""

    @property
    def sentences(self) -> Iterator[Written]:
        yield from self.findings
        yield from self.answers.values()


def load(path: Path = FILE) -> Front:
    document: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    answers = {name: _written(one["answer"], one) for name, one in document["notebook"].items()}
    return Front(tuple(_written(one["text"], one) for one in document["finding"]), answers)


def _written(text: str, entry: Mapping[str, Any]) -> Written:
    return Written(text, {name: AS_WRITTEN[holds] for name, holds in entry["stands_on"].items()}, entry.get("zh", ""))


def filled(text: str, verdicts: Sequence[Verdict]) -> str:
    """The sentence with its numbers."""
    for one in _by_id(verdicts).values():
        text = text.replace(f"{{{one.id}}}", briefly(one.found.value, one.unit))
    return text


def no_longer_so(written: Written, verdicts: Sequence[Verdict]) -> list[str]:
    """In which propositions these runs say otherwise than the sentence."""
    known = _by_id(verdicts)
    return [
        f"{name} is {said(known[name].holds)}, not {said(then)}, as in “{written.text[:50]} …”"
        for name, then in written.stands_on.items()
        if known[name].holds is not then
    ]


def _by_id(verdicts: Sequence[Verdict]) -> dict[str, Proposition]:
    return {one.id: one for verdict in verdicts for one in verdict.propositions}
