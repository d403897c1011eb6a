"""What the notebook on the original benchmark says in words, computed from its attacks and storms."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from analysis.published import conditions as tell
from analysis.published.bands import Band, mostly_inside
from analysis.published.rivals import OF_HYPER, RIVALS
from harness.errors import MachineError
from harness.lab import Source, record
from harness.page.notebook import counts, mean_and_interval, percent
from harness.page.tables import quantile
from harness.plan import Plan
from harness.plan.attack import DESCRIBED
from harness.thought import runs as results
from harness.thought.stats import TIMELINE_STEP_S, pulses

SHARE = "{:.1%}".format
STORMS: Mapping[str, tuple[str, str, str]] = {
    "10-timeouts": ("storm, timeout", "timeout_s", "{:g} s"),
    "10-files": ("storm, open files", "nofile", "{:,}"),
    "10-timeouts-wide": ("storm, timeout, input queue wide", "timeout_s", "{:g} s"),
    "10-files-wide": ("storm, open files, input queue wide", "nofile", "{:,}"),
}
"""Plans of the storm that the text describes: their group in a table of conditions, what was varied, and its form."""
LONGEST_OUTPUT = 30
"""Lines of a tool's own output that are shown, histograms left out."""


def recorded(plan: Plan, source: Source) -> pd.DataFrame:
    """The plan's storms as :func:`harness.lab.record` has them; measured here, none of what only root may measure.

    Raises:
        PlanError, MachineError: as there.
    """
    try:
        return record(plan, source)
    except MachineError:
        if source == "here" and all(trial.kernel.host_sysctls for trial in plan.trials):
            return results.frame([])
        raise


def storms_of(plan: str, runs: pd.DataFrame) -> pd.DataFrame:
    """The conditions in the runs of one of :data:`STORMS`, which have ``variant``, ``timeout_s`` and ``nofile``."""
    return tell.of_storms(runs, *STORMS[plan])


def seen_from_outside(attacks: pd.DataFrame) -> pd.DataFrame:
    """What a tool said beside what the kernel counted, a row for each kind of attack."""
    rows = []
    for _, same in attacks.groupby("plan_hash", sort=False):
        first = same.iloc[0]
        moved = pd.DataFrame(same["counters"].to_list()).reindex(columns=["ListenOverflows", "lo_rx_dropped"]).fillna(0)
        rows.append(
            {
                "server": f"{first['server']} on {first['addresses'] or 'nothing'}",
                "tool": first["tool"],
                "at": first["target"],
                "attacks": len(same),
                "answered": mean_and_interval(same["success_rate"], percent),
                "failed as": tell.told(tell.mean_shares(same["kinds"], same["requests"])),
                "SYNs to 127.0.0.1": counts(same["syns_ipv4"]),
                "SYNs to [::1]": counts(same["syns_ipv6"]),
                "deepest queue seen": counts(same["deepest_queue"]),
                "backlog": counts(same["backlog"]),
                "ListenOverflows": counts(moved["ListenOverflows"]),
            }
        )
    return pd.DataFrame(rows)


def why_lacking(tools: Sequence[str]) -> str:
    """A sentence on tools that were planned and could not be had, with what is known of why; empty for none."""
    if not tools:
        return ""
    described = tomllib.loads(DESCRIBED.read_text(encoding="utf-8"))["tools"]
    known = [f" Why {name} is: {described[name]['lacking']}." for name in tools if "lacking" in described.get(name, {})]
    if len(known) == len(tools):
        return "".join(known)
    return "".join(known) + (
        " What is missing could not be had on the machine that measured: "
        "`python -m harness.trial.foreign` says why there, and tries again."
    )


def ipv4_only(attacks: pd.DataFrame) -> pd.Series:
    """Whether the server listened on 127.0.0.1 and nowhere else."""
    return attacks["addresses"] == "127.0.0.1"


def at_name(attacks: pd.DataFrame, old: str) -> pd.DataFrame:
    """The attacks of the ``old`` version at ``localhost``, on servers that listen on 127.0.0.1 only.

    Raises:
        MachineError: there is none.
    """
    found = attacks[ipv4_only(attacks) & (attacks["tool"] == old) & (attacks["target"] == "localhost")]
    if found.empty:
        raise MachineError(
            f"there is no attack of {old} on a server that listens on 127.0.0.1 only",
            "build what it takes with `python -m harness.trial.foreign`",
        )
    return found


def runner_answer(attacks: pd.DataFrame, chances: pd.DataFrame, old: str, band: Band) -> str:
    """Whether a runner that does not wait makes the published pattern: Hyper late beside the others in time, and late.

    ``band`` holds the shares that count as what was published of Hyper.
    """
    shares, others = _hyper_late(chances, old), _others(attacks, chances, old)
    text = ", ".join(f"{seconds:g} s late {SHARE(np.mean(each))}" for seconds, each in shares.items())
    said = ", ".join(f"{name} {mean_and_interval(punctual, percent)}" for name, (punctual, _) in others.items())
    as_late = [
        f"{name} {SHARE(same.mean())} when {seconds:g} s late"
        for name, (_, tardy) in others.items()
        for seconds, same in tardy.groupby("late_s")["success_rate"]
    ]
    return (
        f"With {old} at `localhost`, Hyper answers: {text or 'never late'}. In time, with the same generator: {said}. "
        f"As late themselves: {', '.join(as_late) or 'not tried'}. {late_answer(attacks, chances, old, band)}"
    ).strip()


def late_answer(attacks: pd.DataFrame, chances: pd.DataFrame, old: str, band: Band) -> str:
    """How late a Hyper answers a share in the band, and whether that is what was published; empty if never late."""
    shares, others = _hyper_late(chances, old), _others(attacks, chances, old)
    if not shares:
        return ""
    near = [seconds for seconds, each in shares.items() if mostly_inside(each, band)]
    whole = all(len(punctual) and punctual.mean() >= tell.WHOLE for punctual, _ in others.values())
    return (
        f"Called by {old}, a Hyper that is late answers {band[0]:.0%} to {band[1]:.0%} in most runs if late by: "
        f"{', '.join(f'{at:g} s' for at in near) or 'none'}. {_who_was_late(near, whole, others)}"
    )


def _late(chances: pd.DataFrame, old: str) -> pd.DataFrame:
    """The attacks of the ``old`` version on servers that were late, with ``late_s``."""
    late_s = pd.Series([plan["late_s"] for plan in chances["plan"]], chances.index, dtype=float)
    return chances.assign(late_s=late_s)[(chances["tool"] == old) & late_s.notna()]


def _hyper_late(chances: pd.DataFrame, old: str) -> dict[float, list[float]]:
    """Seconds late → share answered of each attack on Hyper."""
    late = _late(chances, old)
    hyper = late[late["server"].str.startswith(OF_HYPER)]
    return {at: hyper.loc[hyper["late_s"] == at, "success_rate"].to_list() for at in sorted(set(hyper["late_s"]))}


def _others(attacks: pd.DataFrame, chances: pd.DataFrame, old: str) -> dict[str, tuple[pd.Series, pd.DataFrame]]:
    """Name → (shares answered in time at ``localhost``, attacks in which it was late), of each rival."""
    in_time, late = attacks[(attacks["target"] == "localhost") & (attacks["tool"] == old)], _late(chances, old)
    return {
        name: (in_time.loc[in_time["server"] == server, "success_rate"], late[late["server"] == server])
        for server, name in RIVALS.items()
    }


def _who_was_late(near: Sequence[float], whole: bool, others: Mapping[str, tuple[pd.Series, pd.DataFrame]]) -> str:
    """What follows of Hyper ``near`` the published share when it is so late, and of Go and Node.js in time and late."""
    if not near or not whole:
        return "So these are not the published shares."
    tardy = pd.concat([same for _, same in others.values()])
    alike = tardy[tardy["late_s"].isin(near)].groupby("server")["success_rate"].mean()
    if alike.empty:
        return "Were Hyper late and the others in time, these were the published shares; who was how late is not known."
    if (alike >= tell.WHOLE).all():
        return "So these are the published shares, whoever was late; who was is not known."
    return (
        "So these are the published shares if Hyper alone was late; had all been as late, the others would not have "
        "answered everything either. Who was how late is not known."
    )


def left_refused(attacks: pd.DataFrame, old: str) -> str:
    """Refusals on ``[::1]`` that another version than the old leaves, for which there is no explanation here."""
    in_time = np.array([plan["late_s"] is None for plan in attacks["plan"]])
    mended = attacks[ipv4_only(attacks) & (attacks["tool"] != old) & attacks["server_ended"].isna() & in_time]
    counted = mended.assign(refused=refused_on_ipv6(mended)).groupby("plan_hash", sort=False)
    parts = [
        f"{same['refused'].sum():,} of {same['requests'].sum():,} requests of {same['tool'].iloc[0]} "
        f"({same['plan'].iloc[0]['rate']:,} a second)"
        for _, same in counted
        if same["refused"].any()
    ]
    if not parts:
        return f"By other versions than {old} no request was refused on `[::1]`."
    return f"Refused on `[::1]` were also {'; '.join(parts)}. Why is not known."


def stuck_answer(attacks: pd.DataFrame) -> str:
    """Whether answers stop for good before the attack does, though the server goes on listening."""
    timed = attacks.assign(
        planned_s=[plan["seconds"] for plan in attacks["plan"]],
        last_s=[np.nan if steps is None else len(steps) * TIMELINE_STEP_S for steps in attacks["answers_per_step"]],
    )
    told = timed[timed["last_s"].notna() & (timed["target"] == "localhost")]
    stuck = told[(told["last_s"] < told["planned_s"] - 1) & told["server_ended"].isna()]
    if stuck.empty:
        return f"In none of {len(told)} attacks at `localhost` did the answers stop for good before the attack did."
    text = f"In {len(stuck)} of {len(told)} attacks at `localhost` the answers stop for good before the attack does"
    each = [
        f"{row['tool']}, {row['variant']}: the last answer after {row['last_s']:.1f} of {row['planned_s']} s, "
        f"{SHARE(row['success_rate'])} answered, {row['syns_ipv6']:,.0f} SYNs to `[::1]`"
        for row in stuck.to_dict("records")
    ]
    return (
        f"{text}: {'; '.join(each)}. What would explain it is in the program's source, and is not shown by so few "
        "attacks: it shuffles its one list of addresses in place for each connection, and for several at once without "
        "a lock; two such shuffles can leave one address in it twice, and from then on only that one is called. What "
        "share such an attack answers would then be a matter of when that happens."
    )


def how_called(attacks: pd.DataFrame) -> list[str]:
    """Of each kind of attack, in their order, where its servers listen and by what they are called."""
    first = attacks.drop_duplicates("plan_hash")
    listening = np.where(ipv4_only(first), "listening on 127.0.0.1 only", "listening on both addresses")
    return [
        f"{where}, called {'by name' if target == 'localhost' else 'by address'}"
        for where, target in zip(listening, first["target"], strict=True)
    ]


def stretches(storms: pd.DataFrame) -> str:
    """Which of these storms, one of each server, is answered in most stretches with silence between, and in fewest."""
    counted = {
        str(run["server"]): len(pulses(np.asarray(run["answers_per_step"], np.int64)))
        for run in storms.to_dict("records")
    }
    most, fewest = max(counted, key=lambda name: counted[name]), min(counted, key=lambda name: counted[name])
    if counted[most] == counted[fewest]:
        return f"Each storm is answered in {counted[most]} stretch{'es' if counted[most] > 1 else ''}"
    return f"{most} answers its storm in {counted[most]} stretches with silence between, {fewest} in {counted[fewest]}"


def beside(storm: pd.DataFrame, attacks: pd.DataFrame) -> str:
    """One of the lab's runs in a paragraph, and the tools' own output below it."""
    run = storm.iloc[0]
    outcomes = {name: n for name, n in run["outcomes"].items() if n}
    causes = {name: n for name, n in run["causes"].items() if n}
    counted = {name: n for name, n in run["counters"].items() if name in _SHOWN}

    def listed(found: dict[str, int]) -> str:
        return ", ".join(f"{name} {n:,}" for name, n in sorted(found.items(), key=lambda item: -item[1]))

    latency = f"median {quantile(run['p50_ms'])}, 99th percentile {quantile(run['p99_ms'])}"
    lines = [
        f"**The lab**, `{run['run_id']}`: {listed(outcomes)}. By cause: {listed(causes)}. Latency of all requests: "
        f"{latency}. In the kernel: {listed(counted)}.",
        "",
    ]
    for _, attack in attacks.iterrows():
        output = [line for line in attack["output"].splitlines() if "|" not in line and "histogram" not in line]
        cut = [*output[:LONGEST_OUTPUT], "…"] if len(output) > LONGEST_OUTPUT else output
        lines += ["```", f"$ {attack['as_typed']}    # {attack['version']}", *cut, "```", ""]
    return "\n".join(lines)


_SHOWN = ("ListenOverflows", "ListenDrops", "TCPSynRetrans", "SyncookiesSent", "lo_rx_dropped")


def shallow(attacks: pd.DataFrame) -> bool:
    """Whether the accept queue was never seen full, and never overflowed."""
    return bool((attacks["deepest_queue"] < attacks["backlog"]).all()) and not any(
        moved.get("ListenOverflows", 0) for moved in attacks["counters"]
    )


def refused_on_ipv6(attacks: pd.DataFrame) -> pd.Series:
    """Requests that were refused on the address where nobody listened."""
    return pd.Series([kinds.get("refused on [::1]", 0) for kinds in attacks["kinds"]], attacks.index)
