"""What is said of a pool that has no connection yet and whom many wait for, computed from the runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, get_args

import pandas as pd

from analysis.mitigations.policies import waited_out
from harness.page.numbers import with_spread
from harness.page.tables import quantile
from harness.thought.comparing import increases, limited, ratio, reduces
from harness.thought.stats import median_of_runs

_TIME = "wanted_p99_ms"
_Change = Literal["longer", "shorter", "alike", "not decided"]


def headline(runs: pd.DataFrame) -> str:
    """Where the longest 99th percentile is, and what it is there with the first policy."""
    found = runs.groupby(["server", "variant"], sort=False, observed=True)[_TIME].agg(median_of_runs)
    first = runs["variant"].iloc[0]
    server, worst = found.index[int(found.argmax())]
    said = f"A cold pool: p99 is longest with {worst} on {server}, {quantile(found[server, worst])}"
    return said if worst == first else f"{said}; {quantile(found[server, first])} {first}"


def against_the_first(runs: pd.DataFrame) -> str:
    """Of each policy: on which servers its 99th percentile is longer, shorter, or not decided, against the first's."""
    first, *others = list(dict.fromkeys(runs["variant"]))
    lines = []
    for variant in others:
        found = list(_against(runs, variant, first))
        kinds = [
            f"{how} on {', '.join(f'{server} {said}'.strip() for server, kind, said in found if kind == how)}"
            for how in get_args(_Change)
            if any(kind == how for _, kind, _ in found)
        ]
        lines.append(f"*{variant}*: {'; '.join(kinds)}")
    return f"p99 over that with *{first}*: {'. '.join(lines)}."


def overflows(runs: pd.DataFrame) -> str:
    """In how many storms each server's accept queue overflowed; ``runs`` have the kernel's ``ListenOverflows``."""
    storms = (runs["ListenOverflows"] > 0).groupby(runs["server"], sort=False)
    said = ", ".join(f"of {server} in {hit.sum()} of {len(hit)}" for server, hit in storms)
    return f"The accept queue overflowed in so many storms: {said}."


def opened(runs: pd.DataFrame, pool: int) -> str:
    """Where fewer connections than the pool may have were enough: how many each server then took, medians."""
    made = runs.groupby(["variant", "server"], sort=False, observed=True)["connections_made"].median() / pool
    said = [
        f"*{variant}* {', '.join(f'{share:.0%} on {server}' for server, share in of.droplevel('variant').items())}"
        for variant, of in made.groupby(level="variant", sort=False, observed=True)
        if (of < 1).any()
    ]
    return f"Of a pool of {pool:,} it opened, where that is less than all: {'; '.join(said)}." if said else ""


def _against(runs: pd.DataFrame, variant: str, first: str) -> Iterator[tuple[str, _Change, str]]:
    """(server, what becomes of the time, the ratio). Where the generator was the limit the time is at most that."""
    for server, storms in waited_out(runs).groupby("server", sort=False):
        change = ratio(storms, _TIME, "variant", variant, first)
        if change is None or limited(storms[storms["variant"] == first]):
            yield str(server), "not decided", ""
            continue
        bound = limited(storms[storms["variant"] == variant])
        longer, shorter = increases(change), reduces(change)
        if shorter:
            kind: _Change = "shorter"
        elif bound or longer is None or shorter is None:
            kind = "not decided"
        else:
            kind = "longer" if longer else "alike"
        said = with_spread(change.ratio, "ratio")
        yield str(server), kind, f"{'at most ' * bound}{said}"
