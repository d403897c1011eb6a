"""What a server's log says of running out of files, fit to be shown anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable

LONGEST = 160
_SAYS = re.compile(r"too many open files|EMFILE|no file descriptors|os error 24|errno 24|worker_connections", re.I)
_PATH = re.compile(r"(?<![\w.])(?:/[\w.@+-]+){2,}/?")
_NOISE = re.compile(
    r"^[\[(]?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?Z?(?: ?[+-]\d{4})?[\])]?\s*"
    r"|\x1b\[[0-9;]*m|0x[0-9a-f]{6,}|\d+#\d+: "
)


def lines_on_files(lines: Iterable[str]) -> str | None:
    """The first line that says so, without times, colours, addresses in memory and paths; None where none does."""
    for line in lines:
        if _SAYS.search(line):
            return _PATH.sub("…", _NOISE.sub("", line.strip())).strip()[:LONGEST]
    return None
