"""What the limit of open files decides, in sentences computed from the storms of notebook 05."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from harness.page.notebook import mean_and_interval, of_all, span
from harness.page.tables import NO_VALUE, quantile


def what_each_does(short: pd.DataFrame, crowd: pd.DataFrame, few: str) -> str:
    """With ``few`` files, in storms of short connections and with keep-alive: who ends, rests, closes, never ran out.

    ``crowd`` has the columns of :func:`backoffs.measures` and :func:`told.refused_newest`.
    """
    limited = short[short["limit"] == few]
    ended = limited["server_ended"].notna().groupby(limited["server"], sort=False)
    rests = crowd.groupby("server", sort=False)[["pause_ms", "longest_rest_ms"]].median().dropna()
    closes = crowd.loc[crowd["ended"] > 0, "server"].drop_duplicates()
    never = limited.loc[~ran_out(limited).groupby(limited["server"]).transform("any"), "server"].drop_duplicates()
    kinds = {
        "ends": [f"`{name}` ({of_all(ends)} storms)" for name, ends in ended if ends.any()],
        "rests and tries again": [
            f"`{name}` for {quantile(row.pause_ms)} (up to {quantile(row.longest_rest_ms)} with files free)"
            for name, row in rests.iterrows()
        ],
        "takes the newest connections and closes them": [f"`{name}`" for name in closes],
        "never ran out in a burst of short connections": [f"`{name}`" for name in never],
    }
    said = "; ".join(f"*{what}*: {', '.join(names)}" for what, names in kinds.items() if names)
    return f"**What each does when files run out**: {said}."


def where_it_fails(usually: pd.DataFrame, spare: str) -> str:
    """Claim C2 and advice F3, under the usual limit: which stacks ran out, at which backlog, and what it cost them."""
    said = []
    for variant, storms in usually.groupby("variant", sort=False, observed=True):
        hit, free = [], []
        for name, each in storms.groupby("server", sort=False):
            limited, without = each[each["limit"] != spare], each[each["limit"] == spare]
            short = ran_out(limited)
            if not short.any():
                free.append(f"`{name}`")
                continue
            ended = int(limited["server_ended"].notna().sum())
            hit.append(
                f"`{name}` ran out in {of_all(short)} storms"
                + (f", which ended it in {ended}" if ended else "")
                + f", and answered {_share(limited)} instead of {_share(without)}, the last hundredth after "
                + f"{span(limited['p99_ms'], quantile)} instead of {span(without['p99_ms'], quantile)}"
            )
        kept = f"; {', '.join(free)} did not" if free else ""
        said.append(f"with *{variant}*, {'; '.join(hit) or 'no stack ran out'}{kept if hit else ''}")
    raised = usually[usually["server_files_limit"] > usually["nofile"]]["server"].drop_duplicates()
    names = ", ".join(f"`{name}`" for name in raised)
    more = f" *It was raised by the program itself*: {names}." if names else ""
    return f"**Under the usual limit** (C2, F3): {'; and '.join(said)}.{more}"


def the_symptom(recovery: pd.DataFrame, pause_s: Mapping[str, float], spare: str) -> str:
    """Whether files make what was reported: a small share answered, in pulses, by a process that looks idle."""
    lasting = recovery[recovery["recovered_s"].isna() & recovery["server_ended"].isna()]
    if lasting.empty:
        return "**A small share answered, in pulses, by an idle process** was not seen here."
    alike = lasting.groupby(["server", "limit"], sort=False)["success_rate"].transform("mean")
    worst = lasting[alike == alike.min()]
    server, limit = str(worst["server"].iloc[0]), worst["limit"].iloc[0]
    free = recovery[(recovery["server"] == server) & (recovery["limit"] == spare)]
    cpus = worst["server_cpu_s"] / worst["wall_s"]
    return (
        f"**A small share answered, in pulses, by an idle process**: `{server}` with {limit} answered {_share(worst)} "
        f"of a load of which it answers {_share(free)} with files to spare, in pulses of {pause_s[server]:.2f} s, on "
        f"{mean_and_interval(cpus, '{:.2f}'.format)} CPUs. All it took was one stop, and no storm."
    )


def told_apart(storms: pd.DataFrame) -> str:
    """By what the two kinds of pulses differ, and by what they do not."""
    middle = storms.groupby("variant", sort=False, observed=True)[
        ["nobody", "silent_for_clients", "out_of_files"]
    ].mean()
    said = [
        f"*{name}*: nobody was in the queue for {row.nobody:.0%} of the silence, for {row.silent_for_clients:.0%} of "
        f"the time everybody waited until something was sent again, and {row.out_of_files:.0%} of the waits began with "
        "all files open"
        for name, row in middle.iterrows()
    ]
    return "**How to tell the two pulses apart**: " + "; ".join(said) + "."


def as_predicted(recovered: pd.DataFrame, seen_s: float) -> str:
    """How often the rate from which a server never catches up was right; a load lasted ``seen_s`` after its stop."""
    known = recovered[recovered["predicted"] != NO_VALUE]
    right = sum(map(bool, known["as predicted"]))
    never = [f"`{server}` with {limit}" for server, limit in known.index[known["predicted"] == "never"].to_list()]
    return (
        f"**After the storm**: files left for connections over the rest that a stack takes is the rate with which it "
        f"can catch up. Recovery was as predicted in {right} of {len(known)} kinds of storm"
        + (f"; {', '.join(never)} should not by it, which was seen for {seen_s:g} s of load" if never else "")
        + ". So raising the limit mends it where the pile-up then fits, and not before."
    )


def ran_out(storms: pd.DataFrame) -> pd.Series:
    """Which storms ran out of files, by the server's log or by a sample."""
    return (storms["out_of_files_lines"] > 0) | (storms["peak_server_files"] >= storms["server_files_limit"])


def _share(storms: pd.DataFrame) -> str:
    return mean_and_interval(storms["success_rate"], "{:.1%}".format)
