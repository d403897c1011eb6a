"""What is said of retries after their cause has gone, in tables and words, computed from the runs."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from harness.page import notebook as say
from harness.page.tables import NO_VALUE


def aftermath_table(runs: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """A row for each policy: how long goodput was low after the trigger, and when it was so no more."""
    rows = []
    for kind, storms in runs.groupby(by, sort=False, observed=True):
        rows.append(
            dict(zip(by, kind if isinstance(kind, tuple) else (kind,), strict=True))
            | {
                "storms": len(storms),
                "answered": say.span(storms["success_rate"], say.percent),
                "attempts a request": say.span(storms["attempts_per_request"], "{:.1f}".format),
                "CPU time for answers": say.span(storms["useful_share"], "{:.0%}".format),
                "work in a full queue": say.span(storms["full_queue_s"], "{:.2f} s".format),
                "low goodput after the trigger": say.span(storms["low_s"], "{:.0f} s".format),
                "watched": say.span(storms["watched_s"], "{:.0f} s".format),
                "recovered": say.span(storms["recovered_after_s"], _within),
                "generator": say.generators(storms),
            }
        )
    return pd.DataFrame(rows)


def headline_of_stacks(naive: pd.DataFrame) -> str:
    """On which stacks trying again at once kept the server down in every storm, on which in some, on which in none."""
    down = naive.groupby("server", sort=False)["kept_down"].agg(["sum", "size"])
    kinds: dict[str, Callable[[pd.Series], bool]] = {
        "in every storm": lambda row: row["sum"] == row["size"],
        "in some": lambda row: 0 < row["sum"] < row["size"],
        "in none": lambda row: row["sum"] == 0,
    }
    said = [
        f"{kind} {', '.join(servers)}"
        for kind, holds in kinds.items()
        if (servers := [str(server) for server, row in down.iterrows() if holds(row)])
    ]
    return f"Tried again at once, down for half a minute: {'; '.join(said)}"


def for_whom_it_worked(naive: pd.DataFrame) -> str:
    """What share of its CPU time went into answers in time, by whether the stack recovered."""
    down = naive["kept_down"].groupby(naive["server"]).transform("all")
    said = []
    for stacks, what in ((naive[~down], "not down"), (naive[down], "down")):
        shares = [
            f"{say.span(storms['useful_share'], '{:.0%}'.format)} on {server}"
            for server, storms in stacks.groupby("server", sort=False)
        ]
        said += [f"{', '.join(shares)}, {what}"] if shares else []
    return f"answers that came in time took so much of the server's CPU time: {'; '.join(said)}."


def _within(value_s: float) -> str:
    """Goodput is counted by the second, and nothing finer is known."""
    return "never" if math.isinf(value_s) else f"within {math.ceil(value_s):.0f} s"


def _listed(names: list[str]) -> str:
    return ", ".join(f"*{name}*" for name in names) or NO_VALUE
