"""What a server does when it is out of files, in tables: as it was traced, and as its storms show it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from analysis.pages.audit import RESULT
from harness.page.audit import out_of_files
from harness.page.interval import differs
from harness.page.notebook import mean_and_interval, of_all, span
from harness.page.tables import NO_VALUE, UNANSWERED, quantile


def traced(servers: Sequence[str]) -> pd.DataFrame:
    """What the committed audit says of these servers: the word, the trace of system calls, a line of the log."""
    rows = {row["name"]: row for row in json.loads(RESULT.read_text(encoding="utf-8"))["stacks"] if row["lab"]}
    return pd.DataFrame(
        {name: _traced(rows[name]["on_emfile"], rows[name]["emfile"]) for name in servers if name in rows}
    ).T


def others_that_rest() -> list[str]:
    """Stacks of the committed audit, beside the lab's own servers, that do not accept for a while, and how long."""
    rows = json.loads(RESULT.read_text(encoding="utf-8"))["stacks"]
    return [
        f"{row['stack']} {row['version'].partition(' (')[0]} ({out_of_files(row)})"
        for row in rows
        if not row["lab"] and row["on_emfile"] == "pauses"
    ]


def _traced(word: str, seen: Mapping[str, object]) -> dict[str, object]:
    return {
        "it": word.replace("_", " "),
        "ended": seen["ended"] or NO_VALUE,
        "longest pause, ms": seen["longest_pause_ms"] or NO_VALUE,
        "failed accepts/s": NO_VALUE if seen["failed_accepts_per_s"] is None else seen["failed_accepts_per_s"],
        "its log": seen["log"] or "(nothing)",
    }


Forms = Mapping[str, tuple[str, Callable[[float], str]]]
"""Column → its label, and how a value of it is written."""


def intervals(runs: pd.DataFrame, by: str, forms: Forms) -> pd.DataFrame:
    """Means over storms with their intervals: a row for each value of ``by``, a column for each measure."""
    kinds = runs.groupby(by, sort=False, observed=True)
    return pd.DataFrame({label: kinds[column].agg(mean_and_interval, form) for column, (label, form) in forms.items()})


def with_and_without(runs: pd.DataFrame, by: str, measures: Forms) -> pd.DataFrame:
    """Each of ``measures`` (column → label and form) in the storms of each ``limit``, and what the difference is worth.

    A row for each value of ``by``; means over storms with their intervals, and whether the first limit and the last
    differ (:func:`harness.page.interval.differs`).
    """
    limits = list(dict.fromkeys(runs["limit"]))
    rows = {}
    for kind, storms in runs.groupby(by, sort=False, observed=True):
        groups = [storms[storms["limit"] == limit] for limit in limits]
        row: dict[str, object] = {}
        for column, (label, form) in measures.items():
            for limit, alike in zip(limits, groups, strict=True):
                row[f"{label}, {limit}"] = mean_and_interval(alike[column], form)
            first, last = (groups[place][column].dropna().to_list() for place in (0, -1))
            row[f"{label}, a difference"] = differs(first, last)
        ended = [storms_of["server_ended"].notna().sum() for storms_of in groups]
        row["server ended"] = f"{ended[0]} of {len(groups[0])}" if ended[0] else "never"
        row["lines of its log"] = span(groups[0]["out_of_files_lines"], "{:.0f}".format)
        rows[kind] = row
    return pd.DataFrame(rows).T


def refused_newest(lives: pd.DataFrame) -> dict[str, int]:
    """Of one storm's connections that the server ended without an answer: how many, and what it had open meanwhile.

    ``answered_before`` of them had had an answer; ``older_open`` is the median number of older connections that were
    open when one was ended, and lived on.
    """
    ended = lives[lives["outcome"].isin(["reset", "closed_early"])]
    others = lives[lives["accepted_us"].notna() & ~lives["connection"].isin(ended["connection"])]
    older = [
        int(((others["accepted_us"] < row["closed_us"]) & (others["closed_us"] > row["closed_us"])).sum())
        for row in ended.to_dict("records")
    ]
    return {
        "ended": len(ended),
        "answered_before": int((ended["bytes_received"] > 0).sum()),
        "older_open": int(pd.Series(older, dtype=float).median()) if older else 0,
    }


def batches(short: pd.DataFrame, own: Mapping[str, int], pause_s: Mapping[str, float], least_s: float) -> pd.DataFrame:
    """Of stacks that rest for ``least_s`` and longer: how many batches their storms answered, each of the room.

    ``short`` are storms with few files; ``own`` and ``pause_s`` as for :func:`recoveries`. One batch at once and one
    after each rest are ``expected`` within the clients' patience.
    """
    rows = {}
    for server, storms in short.groupby("server", sort=False):
        rest_s = pause_s.get(str(server), 0.0)
        if rest_s < least_s or str(server) not in own:
            continue
        room = float(storms["nofile"].iloc[0]) - own[str(server)]
        answers = storms["success_rate"] * storms["planned"]
        rows[server] = {
            "room for": f"{room:,.0f}",
            "rests for, s": f"{rest_s:.2f}",
            "answered": mean_and_interval(storms["success_rate"], "{:.1%}".format),
            "batches": mean_and_interval(answers / room, "{:.2f}".format),
            "expected": f"{1 + float(storms['timeout_s'].iloc[0]) / rest_s:.1f}",
        }
    return pd.DataFrame(rows).T


def recoveries(runs: pd.DataFrame, own: Mapping[str, int], pause_s: Mapping[str, float]) -> pd.DataFrame:
    """Whether each server catches up with a steady rate after a stop, predicted and measured; a row for each limit.

    ``runs`` has ``rate``, ``piled_up`` (connections that came during the stop) and ``recovered_s``; ``own`` says how
    many files a server has open without connections, ``pause_s`` how long it rests when none is left. It accepts what
    it has files for, and rests: with as many connections a second as that, or more, it never catches up.
    """
    rows = {}
    for (server, limit), storms in runs.groupby(["server", "limit"], sort=False):
        room = float(storms["nofile"].iloc[0]) - own.get(str(server), float("nan"))
        catches_up = room / pause_s.get(str(server), float("nan"))
        rate, piled_up = float(storms["rate"].iloc[0]), float(storms["piled_up"].iloc[0])
        never = piled_up > room and catches_up <= rate
        recovered = storms["recovered_s"].notna()
        rows[server, limit] = {
            "room for": NO_VALUE if pd.isna(room) else f"{room:,.0f}",
            "catches up with, per s": NO_VALUE if pd.isna(catches_up) else f"{catches_up:,.0f}",
            "predicted": NO_VALUE if pd.isna(catches_up) else "never" if never else "recovers",
            "recovered": of_all(recovered),
            "after, s": span(storms["recovered_s"], "{:.1f}".format),
            "as predicted": bool((recovered != never).all()) if pd.notna(catches_up) else None,
            "answered": mean_and_interval(storms["success_rate"], "{:.1%}".format),
            "median latency": span(storms["p50_ms"], quantile) if storms["p50_ms"].notna().all() else UNANSWERED,
            "server ended": of_all(storms["server_ended"].notna()),
        }
    return pd.DataFrame(rows).T
