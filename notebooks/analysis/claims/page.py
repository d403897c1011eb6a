"""Where verdicts are read: the README's table, ``docs/verdicts.md`` with all propositions, and the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from analysis.claims import front
from analysis.claims.verdict import Verdict, Word, plain
from harness import PROJECT
from harness.errors import PlanError
from harness.events.store import write_whole
from harness.page.propositions import number
from harness.page.tables import NO_VALUE
from harness.thought.proposition import Asked, said

README, README_ZH, PAGE = PROJECT / "README.md", PROJECT / "README.zh.md", PROJECT / "docs" / "verdicts.md"
_HEAD = """\
# Verdicts

A reply to the article, point by point: its fourteen claims, each by its propositions. `stormlab verdicts --export`
writes this page from the reference data; `stormlab verdicts --json` names the runs behind each line.

*Core* propositions decide the word: all hold, **confirmed**; none, **refuted**; some, **in part**; none is decided,
**not decided**. Where all hold and what the claim gives as the *cause* is false, it is **wrong cause**. *Details* never
change the word. A proposition is true or false if the whole interval lies on one side of its margin, in six runs a side
or more (five where each takes over a minute). They were [written down](../notebooks/analysis/claims/claims.toml), with
their margins, before the runs of S2, S4, C2, F1 and A1 to A4 were made; those of S1, S3 and of kernel settings are
older.
"""


def export(verdicts: Sequence[Verdict]) -> None:
    """Write the front pages and the page of all propositions anew. Raises: PlanError, OSError."""
    for path, chinese in ((README, False), (README_ZH, True)):
        write_whole(path, front_page(path.read_text(encoding="utf-8"), verdicts, chinese=chinese))
    write_whole(PAGE, page(verdicts))


def front_page(text: str, verdicts: Sequence[Verdict], *, chinese: bool = False) -> str:
    """A front page with its generated parts as they are to be. Raises: PlanError: a marker is missing."""
    written = front.load()
    sentences = [one.zh if chinese else one.text for one in written.findings]
    findings = "".join(f"{place}. {front.filled(said, verdicts)}\n" for place, said in enumerate(sentences, 1))
    parts = {"findings": findings, "verdicts": table_zh(verdicts) if chinese else table(verdicts)}
    if not chinese:
        parts["notebooks"] = _notebooks(written, verdicts)
    for name, part in parts.items():
        text = _put(text, name, part)
    return text


def outside(text: str, *, chinese: bool = False) -> str:
    """What of a front page is written by hand."""
    for name in ("findings", "verdicts") if chinese else ("findings", "verdicts", "notebooks"):
        text = _put(text, name, "")
    return text


def _put(text: str, name: str, part: str) -> str:
    before, begin, rest = text.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition(f"<!-- /{name} -->\n")
    if not begin or not end:
        raise PlanError(f"the page has no markers <!-- {name} --> and <!-- /{name} -->", "put them back")
    return before + begin + part + end + after


def table(verdicts: Sequence[Verdict]) -> str:
    """A line a claim: what it says, the word, its author's sentence."""
    lines = ["| the article says | verdict | measured here |", "|---|---|---|"]
    for verdict in verdicts:
        claim = verdict.claim
        link = f"[{claim.name}](docs/verdicts.md#{claim.name.lower()})"
        lines.append(f"| {link} {claim.says} | **{plain(verdict.word)}** | {verdict.sentence} |")
    return "\n".join(lines) + "\n"


def table_zh(verdicts: Sequence[Verdict]) -> str:
    """The same in Chinese, with what the article might say instead: a reply point by point."""
    lines = ["| 文章的说法 | 结论 | 实测 | 更好的说法与做法 |", "|---|---|---|---|"]
    for verdict in verdicts:
        claim = verdict.claim
        link = f"[{claim.name}](docs/verdicts.md#{claim.name.lower()})"
        cells = (f"{link} {claim.says_zh}", f"**{_IN_CHINESE[verdict.word]}**", verdict.sentence_zh, claim.instead_zh)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


_IN_CHINESE: Mapping[Word, str] = {
    "confirmed": "成立",
    "in_part": "部分成立",
    "wrong_cause": "现象属实，原因不对",
    "refuted": "不成立",
    "not_decided": "此处无法判定",
}


def _notebooks(written: front.Front, verdicts: Sequence[Verdict]) -> str:
    """A line a notebook, with its answer."""
    lines = ["| notebook | answer |", "|---|---|"]
    for name, one in written.answers.items():
        lines.append(f"| [{name}](notebooks/{name}.ipynb) | {front.filled(one.text, verdicts)} |")
    return "\n".join(lines) + "\n"


def page(verdicts: Sequence[Verdict]) -> str:
    """All propositions of all claims."""
    return "\n".join([_HEAD, *("\n".join(_section(verdict)) for verdict in verdicts)])


def _section(verdict: Verdict) -> Iterator[str]:
    claim = verdict.claim
    yield f"## {claim.name}\n"
    yield f"*{claim.says}.* **{plain(verdict.word).capitalize()}.** {verdict.sentence}\n"
    yield f"What might be said and done instead: {claim.instead}\n"
    yield "| | proposition | role | holds | measured | margin | runs |\n|---|---|---|---|---|---|---|"
    for one, asked in zip(verdict.propositions, claim.asked, strict=True):
        holds = f"**{said(one.holds)}**" + (f": {one.why_null}" if one.holds is None else "")
        runs = str(len(one.runs) or NO_VALUE)
        cells = (one.name, one.statement, one.role, holds, number(one), _margin(asked), runs)
        yield f"| {' | '.join(cells)} |"
    shown = f", [figure](../{verdict.propositions[0].figure})" if verdict.propositions[0].figure else ""
    yield f"\nNotebook: [{claim.notebook}](../notebooks/{claim.notebook}.ipynb){shown}.\n"


def rows(
    verdicts: Sequence[Verdict], there: Sequence[Verdict] | None = None
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns and lines for the terminal: each claim, and under it its propositions; here beside there, if given."""
    columns = ("", "says", "verdict", "measured") + (("in the reference data",) if there else ())
    lines = []
    for at, verdict in enumerate(verdicts):
        other = there[at] if there else None
        beside = (plain(other.word),) if other else ()
        sentence = "" if other else verdict.sentence
        lines.append((verdict.claim.name, verdict.claim.says, plain(verdict.word), sentence, *beside))
        for place, one in enumerate(verdict.propositions):
            measured = number(one) + (f" ({one.why_null})" if one.holds is None else "")
            shown = other.propositions[place] if other else None
            beside = (f"{said(shown.holds)}: {number(shown)}",) if shown else ()
            lines.append((f"  {one.role}", one.statement, said(one.holds), measured, *beside))
    return columns, lines


def _margin(asked: Asked) -> str:
    """``above 1.05``."""

    def end(value: float) -> str:
        if asked.unit == "difference of shares":
            return f"{value * 100:+g} points".replace("-", "−").replace("+0 ", "0 ")
        return f"{value:,.0f} ms" if asked.unit == "ms" else f"{value:.3g}"

    ends = (("above", asked.above), ("below", asked.below))
    return " and ".join(f"{side} {end(value)}" for side, value in ends if value is not None)
