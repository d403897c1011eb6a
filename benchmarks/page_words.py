"""Numbers and tables as the benchmark page writes them, in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Json = dict[str, Any]


def shown(drawn: Json, name: str) -> list[str]:
    if name not in drawn:
        return []
    _, caption, alternative = drawn[name]
    return [f"![{alternative}](figures/{name}.png)", f"*{caption}*"]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> str:
    lines = [columns, ["--:" if column in right else "---" for column in columns], *rows]
    return "\n".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


def listed(cpus: Sequence[int]) -> str:
    return ", ".join(map(str, cpus))


def count(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def percent(share: float) -> str:
    return f"{100 * share:g} %"


def share(value: float, digits: int = 0) -> str:
    return f"{100 * value:.{digits}f} %"


def and_list(items: Iterable[str]) -> str:
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def in_us(value: float) -> str:
    return f"{value:,.0f} µs"


def moment(when: str) -> str:
    return when[:16].replace("T", " ")


def day(results: Json) -> str:
    return str(results["begun"])[:10]
