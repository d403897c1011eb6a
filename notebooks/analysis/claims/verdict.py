"""How the propositions of a claim come to one word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from analysis.claims.claim import Claim
from harness.page.numbers import briefly
from harness.page.propositions import document
from harness.thought.proposition import Proposition, said

Word = Literal["confirmed", "in_part", "wrong_cause", "refuted", "not_decided"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One claim's, with the propositions it stands on."""

    claim: Claim
    propositions: tuple[Proposition, ...]

    @property
    def word(self) -> Word:
        return word(self.propositions)

    @property
    def sentence(self) -> str:
        """Its author's, with numbers filled in; where it no longer holds, what has changed."""
        return self._said(self.claim.sentence.text)

    @property
    def sentence_zh(self) -> str:
        """The same in Chinese."""
        return self._said(self.claim.sentence.zh)

    @property
    def no_longer_so(self) -> list[str]:
        """In which propositions the sentence says otherwise than these runs, as ``S2.fails is true, not false``."""
        now = {one.name: one.holds for one in self.propositions}
        return [
            f"{self.claim.name}.{name} is {said(now[name])}, not {said(then)}"
            for name, then in self.claim.sentence.stands_on.items()
            if now[name] is not then
        ]

    def _said(self, text: str) -> str:
        if changed := self.no_longer_so:
            return f"{plain(self.word).capitalize()}; the published sentence does not say so: {'; '.join(changed)}."
        return text.format_map(_numbers(self.propositions))

    def to_json(self) -> dict[str, Any]:
        return {
            "claim": self.claim.name,
            "says": self.claim.says,
            "verdict": self.word,
            "sentence": self.sentence,
            "sentence_holds": not self.no_longer_so,
            "propositions": [document(one) for one in self.propositions],
            "notebook": self.claim.notebook,
        }


def word(propositions: Iterable[Proposition]) -> Word:
    """By the core propositions, and where all of these hold by what the claim gives as the cause."""
    every = list(propositions)
    core = [one.holds for one in every if one.role == "core"]
    if all(holds is None for holds in core):
        return "not_decided"
    if not any(core):
        return "refuted"
    if not all(core):
        return "in_part"
    return "wrong_cause" if any(one.holds is False for one in every if one.role == "cause") else "confirmed"


def plain(word: Word) -> str:
    """A verdict's word as one says it."""
    return word.replace("_", " ")


def _numbers(propositions: Sequence[Proposition]) -> Mapping[str, str]:
    return {one.name: briefly(one.found.value, one.unit) for one in propositions}
