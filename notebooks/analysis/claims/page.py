"""The front page: what the README says of results, made of the verdicts and put between its markers."""

from __future__ import annotations

import itertools
import json
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from typing import get_args

from analysis.claims import published
from analysis.claims.evidence import Evidence
from analysis.claims.telling import number
from analysis.claims.verdict import CLAIMS, Verdict, Word
from harness import PROJECT
from harness.errors import PlanError
from harness.events.store import write_whole
from harness.page.tables import NO_VALUE

README = PROJECT / "README.md"
_WIDTH = 120
FIGURE = "figures/08-original-benchmark/address"
"""The published attack, and the same with one thing changed: what made the published servers fail."""

_FINDING = """\
![{alt}]({figure}.png)

{sentence}
"""
_VERDICTS = """\
{summary}
`stormlab verdicts --json` names the storms of each.

| claim | verdict | measured | what was found |
|---|---|---|---|
{rows}

<details>
<summary>All that was found, claim by claim</summary>

{whole}

</details>
"""
CLEAN = ("S3", "C1", "F1")
"""Claims of a backlog, which are judged on clean ground alone (:func:`comparing.without_drops`)."""
_LEAD_CHARACTERS = 220
"""Of a statement in the table, which is to be read at a glance."""


def front_page(text: str, evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """The README's text with the generated parts as they are to be.

    Raises:
        PlanError: a marker is missing.
    """
    about = json.loads((PROJECT / f"{FIGURE}.json").read_text(encoding="utf-8"))
    sentence = textwrap.fill(f"*{published.finding(evidence)} {about['caption']}*", _WIDTH, break_on_hyphens=False)
    finding = _FINDING.format(alt=about["alternative_text"], figure=FIGURE, sentence=sentence)
    counted = textwrap.fill(summary(evidence, verdicts), _WIDTH, break_on_hyphens=False)
    table = _VERDICTS.format(
        summary=counted, rows="\n".join(map(row, verdicts)), whole="\n\n".join(map(_whole, verdicts))
    )
    parts = {"finding": finding, "verdicts": table}
    for name, part in parts.items():
        text = _put(text, name, part)
    return text


def export(evidence: Evidence, verdicts: Sequence[Verdict]) -> None:
    """Write the README anew. Raises: PlanError, OSError."""
    write_whole(README, front_page(README.read_text(encoding="utf-8"), evidence, verdicts))


def outside(text: str) -> str:
    """What of the README is written by hand."""
    for name in ("finding", "verdicts"):
        text = _put(text, name, "")
    return text


def _put(text: str, name: str, part: str) -> str:
    before, begin, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not begin or not end:
        raise PlanError(f"the README has no markers <!-- {name} --> and <!-- /{name} -->", "put them back")
    return before + begin + part + end + after


def summary(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """What stands above the table: of how many storms and attacks the verdicts are, how they fell, on what ground."""
    counted = Counter(verdict.verdict for verdict in verdicts)
    words = ", ".join(f"{counted[word]} {plain(word)}" for word in get_args(Word) if counted[word])
    used = {run_id for verdict in verdicts for run_id in verdict.run_ids}
    attacks = len(used & {attack["run_id"] for attack in evidence.attacks})
    return (
        f"The article's {len(verdicts)} claims, put to the test in {len(used) - attacks:,} storms and {attacks:,} "
        f"attacks by other tools on {evidence.host}: {words}. No verdict rests on a single storm, or on a speed of "
        f"answers that may be the generator's own. {_on_ground(evidence, verdicts)}"
    )


def _on_ground(evidence: Evidence, verdicts: Sequence[Verdict]) -> str:
    """What of the verdicts rests on storms in which this host's own input queue dropped packets."""
    dropping = set(evidence.runs.loc[evidence.runs["lo_rx_dropped"] > 0, "run_id"])
    others = [verdict.claim for verdict in verdicts if dropping & set(verdict.run_ids) and verdict.claim not in CLEAN]
    said = f"What {', '.join(CLEAN[:-1])} and {CLEAN[-1]} say of a backlog rests on storms alone in which this host's "
    said += "own input queue dropped nothing."
    return f"{said} In some storms of {', '.join(others)} it dropped packets." if others else said


def row(verdict: Verdict) -> str:
    """Its line in the table."""
    claim = CLAIMS[verdict.claim]
    # What is not decided has no number of its own, and may have one of what was measured all the same.
    told = verdict if verdict.value is not None else next(iter(verdict.parts), None)
    measured = f"{number(told)} {told.measure}" if told else NO_VALUE
    links = [f"[{'figure' if not place else 'another'}]({path})" for place, path in enumerate(verdict.figures)]
    shown = f" ({', '.join(links)})" if links else ""
    cells = (
        f"**{claim.name}** {claim.says}",
        f"**{plain(verdict.verdict)}**",
        measured,
        lead(verdict.statement) + shown,
    )
    return f"| {' | '.join(cells)} |"


def _whole(verdict: Verdict) -> str:
    text = f"**{verdict.claim}**, {plain(verdict.verdict)}. {verdict.statement}"
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False)


def lead(statement: str) -> str:
    """Its first sentences, or of a long list the first items, as far as a table has room for them."""
    pieces = re.split(r"(?<=[.;]) ", statement)
    lengths = itertools.accumulate(len(piece) + 1 for piece in pieces)
    fitting = sum(length <= _LEAD_CHARACTERS for length in lengths)
    if fitting == len(pieces):
        return statement
    return " ".join(pieces[: max(fitting, 1)]).rstrip(";") + " …"


def plain(word: Word) -> str:
    """A verdict's word as one says it."""
    return word.replace("_", " ")
