"""More accept loops in words and tables: who came through at the first try, what overflowed, and who was stranded.

A second listener is a second queue, so that loops are told apart from room: which ways differ in what is in
:data:`LIKE_FOR_LIKE`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.mitigations.policies_told import times
from analysis.mitigations.ways import ACCEPTING, compared
from analysis.mitigations.ways_told import brought, not_told
from harness.page import notebook as say
from harness.thought.comparing import limited, without_drops

MORE_LOOPS, ROOM = "More loops on the same queue, with as many workers", "More room, with as many loops"
LIKE_FOR_LIKE: Mapping[str, Sequence[tuple[str, str, tuple[str, ...]]]] = {
    MORE_LOOPS: [("two loops on one listener", "one loop", ("hyper", "go"))],
    "More workers on the same queue": [("one loop", "one loop of one worker", ("hyper", "go"))],
    ROOM: [("one loop, listen(4096)", "one loop", ("hyper", "go"))],
    "More listeners, which are more room as well": [
        ("two listeners", "one loop of one worker", ("hyper",)),
        ("two listeners", "one loop", ("go",)),
        ("two workers for each of two listeners", "one loop", ("hyper", "go")),
        ("four listeners", "two listeners", ("go",)),
        ("two listeners, listen(4096)", "one loop, listen(4096)", ("go",)),
    ],
}
"""What differs → (way, way it is held against, stacks) of 09-accept-loops in which nothing else does: on Hyper each of
several listeners has one thread, on Go there are as many for all of them (harness/servers/README.md, accept loops)."""
_FIRST_TRY = "first_try_share"


def loops_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and way of accepting: who came through at the first try, and what overflowed.

    ``runs`` has columns ``wide``, whether ``netdev_max_backlog`` was raised, and ``ListenOverflows``.
    """
    rows = []
    for (server, variant, wide), storms in runs.groupby(["server", "variant", "wide"], sort=False, observed=True):
        rows.append(
            {
                "server": server,
                "accepting": str(variant),
                "input queue": "wide" if wide else "as it is",
                "storms": len(storms),
                "listeners in the kernel": say.counts(storms["listeners"]),
                "first try": say.mean_and_interval(storms["first_try_share"], "{:.1%}".format),
                "p99": times(storms["wanted_p99_ms"]),
                "overflows": say.counts(storms["ListenOverflows"]),
                "lost in input queue": say.counts(storms["lo_rx_dropped"]),
                "CPU per answer, µs": say.mean_and_interval(storms["cpu_us_per_answer"], "{:.0f}".format),
                "generator": say.generators(storms),
            }
        )
    return pd.DataFrame(rows)


def stranded(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each server and way of accepting: how many clients waited for the loop that stood still.

    ``runs`` has a column ``slow``: how many were not answered for most of the time that it stood still.
    """
    groups = runs.groupby(["server", "variant"], sort=False, observed=True)
    slow = groups["slow"]
    return pd.DataFrame(
        {
            "storms": slow.size(),
            "listeners": groups["listeners"].agg(say.counts),
            "clients": groups["clients"].agg(say.counts),
            "waited for the loop, median": slow.median(),
            "fewest": slow.min(),
            "most": slow.max(),
        }
    )


def loops(runs: pd.DataFrame) -> str:
    """What loops change and what room, by the ways of :data:`LIKE_FOR_LIKE`: shares that came through at the first
    try, medians, and whether that is so in every storm.
    """
    shown = [
        f"{what}: {'; '.join(_held_against(runs, *way) for way in ways) or 'nothing can be told'}"
        for what, ways in ((what, _known(runs, ways)) for what, ways in LIKE_FOR_LIKE.items())
    ]
    return f"{'. '.join(shown)}. {generator_the_limit(runs)}".strip()


def headline_of_loops(runs: pd.DataFrame) -> str:
    """First tries with more loops at the same room, and with more room for the same loops, medians of each stack.

    Without what the generator was the limit of.
    """
    told = []
    for name, what in ((MORE_LOOPS, "two loops on the same queue"), (ROOM, "one loop with more room")):
        medians = [
            f"{server} {base:.0%} → {changed:.0%}"
            for server, way, against in _known(runs, LIKE_FOR_LIKE[name])
            for base, changed in [(_first_try(runs, server, against), _first_try(runs, server, way))]
        ]
        told.append(f"{what}: {', '.join(medians) or 'generator the limit'}")
    return f"First try, {'; '.join(told)}"


def generator_the_limit(runs: pd.DataFrame) -> str:
    """Where, and in how many storms: of these nothing is said, as fewer wait where clients come more slowly."""
    kinds = [
        f"*{variant}* on {server} ({say.of_all(storms['generator'].eq('limiting'))} storms)"
        for (server, variant), storms in runs.groupby(["server", "variant"], sort=False, observed=True)
        if limited(storms)
    ]
    return f"Of these nothing is told, as the generator was the limit: {', '.join(kinds)}." if kinds else ""


def batches(runs: pd.DataFrame, untouched: str) -> str:
    """Whether the size of a batch changes anything, by storms in which this host's input queue dropped nothing.

    ``runs`` have ``variant``, the size, and ``wide``. Where such storms had ``netdev_max_backlog`` raised, by these.
    """
    clear = without_drops(runs)
    clear = clear[clear["wide"]] if clear["wide"].any() else clear
    found = compared(clear, untouched, ACCEPTING)
    if not found:
        return "In too many storms this host's own input queue dropped packets: of batches nothing follows from them."
    shown = sum(one.found in ("better", "worse") for one in found)
    said = f"In {len(clear)} storms in which this host's own input queue dropped nothing, {shown} of {len(found)} "
    which = brought(found) if shown else not_told(found)
    return f"{said}comparisons with the runtime's own batch show more or less in every storm. {which}".strip()


def _known(runs: pd.DataFrame, ways: Sequence[tuple[str, str, tuple[str, ...]]]) -> list[tuple[str, str, str]]:
    """(stack, way, way it is held against) of those that there are storms of in which the generator kept up."""
    kinds = runs.groupby(["server", "variant"], observed=True)
    had = {(server, str(variant)) for (server, variant), storms in kinds if not limited(storms)}
    found = [(server, way, against) for way, against, servers in ways for server in servers]
    return [one for one in found if {(one[0], one[1]), (one[0], one[2])} <= had]


def _held_against(runs: pd.DataFrame, server: str, way: str, against: str) -> str:
    both = pd.concat([_kind(runs, server, kind) for kind in (way, against)])
    (found,) = compared(both, against, {_FIRST_TRY: 1})
    medians = " → ".join(f"{_first_try(runs, server, kind):.0%}" for kind in (against, way))
    ends = {"better": "more in every storm", "worse": "fewer in every storm", "alike": "not so in every storm"}
    return f"{server} {medians} with *{way}* instead of *{against}* ({ends.get(found.found, found.found)})"


def _kind(runs: pd.DataFrame, server: str, variant: str) -> pd.DataFrame:
    return runs[(runs["server"] == server) & (runs["variant"] == variant)]


def _first_try(runs: pd.DataFrame, server: str, variant: str) -> float:
    return float(_kind(runs, server, variant)[_FIRST_TRY].median())
