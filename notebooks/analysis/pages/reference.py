"""``python -m analysis.pages.reference``: the generated blocks of ``docs/reference.md``, from what they describe."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from analysis.pages.dictionary import OUTCOMES
from harness import PROJECT
from harness.cli import commands
from harness.errors import INTERRUPTED, MachineError, PlanError, ServerError
from harness.plan import OPTIONS
from harness.thought import cause

PAGE = PROJECT / "docs" / "reference.md"
_CODES = {
    0: "done, and no check failed; how many requests succeeded plays no part",
    1: "a check failed",
    PlanError.exit_code: "bad arguments",
    MachineError.exit_code: "this machine cannot",
    ServerError.exit_code: "the server failed; the run is kept",
    INTERRUPTED: "interrupted; what was recorded is kept",
}


def _listed(meanings: Iterable[tuple[object, str]]) -> str:
    return "\n".join(f"- `{name}`: {meaning}" for name, meaning in meanings)


def _options() -> str:
    """A table of all options of a storm, part by part."""
    head = "| option | typed | takes | default | meaning |\n|---|---|---|---|---|\n"
    return head + "\n".join(
        f"| `{name}` | `{one.flag}` | {one.allowed} | {_default(one.default)} | {one.help} |"
        for name, one in OPTIONS.items()
    )


def _default(value: object) -> str:
    return "–" if value in (None, ()) else str(value).lower() if isinstance(value, bool) else str(value)


BLOCKS: dict[str, Callable[[], str]] = {
    "outcomes": lambda: _listed((outcome.name, meaning) for outcome, meaning in OUTCOMES.items()),
    "phases": lambda: _listed(cause.PHASE_MEANINGS.items()),
    "causes": lambda: _listed(cause.MEANINGS.items()),
    "commands": lambda: _listed(commands().items()),
    "options": _options,
    "codes": lambda: _listed(_CODES.items()),
}


def filled(text: str) -> str:
    """The page with each block, ``<!-- name -->`` to ``<!-- /name -->``, as the code has it now."""
    for name, block in BLOCKS.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        text = f"{before}{mark}{block()}\n{end}{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
