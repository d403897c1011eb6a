"""The published benchmark: its Hyper under its own generator, and its program in the storm of which the text speaks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.claims.evidence import Evidence
from analysis.claims.telling import quoted, title
from analysis.published import told as published
from analysis.published.answers import by_files
from analysis.published.bands import HALF, QUARTER, Band, mostly_inside
from analysis.published.blame import blameless
from analysis.published.conditions import in_pulses
from analysis.published.rivals import RIVALS, as_published, beside_rivals
from analysis.published.told import at_name, ipv4_only, refused_on_ipv6
from harness.errors import MachineError
from harness.page.notebook import over_kinds, percent
from harness.page.numbers import with_spread
from harness.page.tables import quantile
from harness.thought.inference import Interval, mean_share

ADDRESS, CHANCES = "08-address", "08-chances"
"""Plans of attacks: which address the generator calls, and what else its runner left to chance."""
FILES, FILES_WIDE = "08-files", "08-files-wide"
STORMS = tuple(published.STORMS)
"""Plans of the storm of the text, as it is and with a raised netdev_max_backlog."""
OF_PROGRAM = "hyper-"
"""So begin the names of the servers that are written after the published one."""
OLD, NAME = "vegeta-12.11.1", "localhost"
AS_PUBLISHED = f"{OLD} at {NAME}"


@dataclass(frozen=True, slots=True)
class Kind:
    """Attacks or storms of one kind: what it is called, and the share of all requests that was answered."""

    name: str
    shares: tuple[float, ...]
    """Of each run."""
    blameless: Interval
    """Their mean, with what this host's dropped packets may have cost counted as answered."""
    run_ids: tuple[str, ...]
    node: Interval | None = None
    """What Node.js answers in the same storm, where it was tried."""

    @property
    def answered(self) -> Interval:
        """Their mean."""
        return mean_share(self.shares)


def under_its_generator(evidence: Evidence) -> Iterator[tuple[Kind, pd.DataFrame]]:
    """Attacks on the published Hyper, kind by kind, the one as published first."""
    for plan in (ADDRESS, CHANCES):
        attacks = evidence.attacks_of(plan)
        if attacks.empty:
            continue
        chosen = attacks[attacks["server"].str.startswith(OF_PROGRAM)]
        for _, same in chosen.groupby("plan_hash", sort=False):
            first = same.iloc[0]
            name = f"{first['tool']} at {first['target']}" if plan == ADDRESS else str(first["variant"])
            shares = tuple(same["success_rate"])
            yield Kind(name, shares, mean_share(shares), tuple(same["run_id"])), same


def in_the_storm(evidence: Evidence) -> Iterator[Kind]:
    """Storms of the lab on the published program, kind by kind; their run ids are with those of Node.js beside them."""
    for plan in STORMS:
        every = recorded_storms(evidence, plan)
        rivals = every[every["server"] == "node"]
        for variant, kind, storms in kinds_of(every[every["server"].str.startswith(OF_PROGRAM)]):
            first = storms.iloc[0]
            beside = rivals[rivals["timeout_s"].eq(first["timeout_s"]) & rivals["limit"].eq(first["limit"])]
            shares = tuple(storms["success_rate"])
            ids = (*storms["run_id"], *beside["run_id"])
            rival = mean_share(beside["success_rate"].to_list()) if len(beside) else None
            yield Kind(f"{variant} with {kind}", shares, mean_share(blameless(storms)), ids, rival)


def recorded_storms(evidence: Evidence, plan: str) -> pd.DataFrame:
    """The storms of one of :data:`STORMS` on all servers, with ``timeout_s``, ``nofile`` and ``limit``.

    ``limit`` is that of open files, none where none was set.
    """
    runs = evidence.of_plan(plan, "server", "timeout_s", "nofile").sort_values(["timeout_s", "nofile"])
    return runs.assign(server=runs["server"].astype(str), limit=runs["nofile"].fillna(0))


def kinds_of(runs: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """(variant, ``50,000 clients, timeout 10 s, 1,024 files``, the storms) of each kind in :func:`recorded_storms`."""
    for _, storms in runs.groupby("plan_hash", sort=False):
        first = storms.iloc[0]
        files = f", {first['limit']:,.0f} files" if first["limit"] else ""
        queue = ", raised netdev_max_backlog" if first["wide"] else ""
        yield (
            str(first["variant"]),
            f"{first['clients']:,} clients, timeout {first['timeout_s']:g} s{files}{queue}",
            storms,
        )


def matched(evidence: Evidence) -> str:
    """Whether any storm or a late Hyper is what was published, and what limits of open files do; empty without any."""
    in_time, chances = evidence.attacks_of(ADDRESS), evidence.attacks_of(CHANCES)
    measured = len(in_time) and len(chances)
    late = published.late_answer(in_time, chances, OLD, QUARTER) if measured else ""
    return " ".join(filter(None, [_matched_by_storms(evidence), late]))


def _matched_by_storms(evidence: Evidence) -> str:
    conditions = _conditions(evidence)
    if conditions.empty:
        return ""
    beside = beside_rivals(conditions)
    shown, whole = as_published(beside, QUARTER), beside["whole"].to_list()
    return (
        f"Of {len(beside)} kinds of storm on the published program, rewritten, that were also made on Go and Node.js, "
        f"{len(shown) or 'none'} shows what was published, {QUARTER[0]:.0%} to {QUARTER[1]:.0%} while both answer "
        f"everything; in {whole.count(False)} one of them fell short by itself, {whole.count(None)} undecided. "
        f"{by_files(conditions)}"
    ).strip()


def pulses(evidence: Evidence) -> tuple[str, list[str]]:
    """In how many kinds of storm that say something of a backlog the published program answers in pulses, and their
    run ids; empty without any.
    """
    every = _conditions(evidence)
    if every.empty:
        return "", []
    undisturbed = pd.Series([all(packets == 0 for packets in each) for each in every["dropped"]], every.index)
    mine = every[every["server"].str.startswith(OF_PROGRAM) & undisturbed]
    if mine.empty:
        return "", []
    found = in_pulses(mine)["server"].to_list()
    parts = [
        f"{server} in {found.count(server) or 'none'} of {len(same)} kinds of storm"
        for server, same in mine.groupby("server", sort=False)
    ]
    ids = [run_id for each in mine["run_ids"] for run_id in each]
    return f"By itself the published program answers in pulses: {', '.join(parts)}.", ids


def of_program(evidence: Evidence, plan: str) -> pd.DataFrame:
    """The lab's storms on the published program, with their timeouts and limits of open files."""
    runs = evidence.of_plan(plan, "server", "timeout_s", "nofile")
    return runs[runs["server"].astype(str).str.startswith(OF_PROGRAM)]


def quarter(shares: Mapping[str, Sequence[float]]) -> str:
    """The kinds, by the shares of their runs, that answer as many as the article has."""
    found = [kind for kind, each in shares.items() if mostly_inside(each, QUARTER)]
    return f"{_ends(QUARTER)} are answered in most runs of: {'; '.join(map(quoted, found)) or 'none'}."


def by_band(shares: Mapping[str, Sequence[float]]) -> str:
    """Those that answer another share, about a half of all requests apart."""
    left = {kind: each for kind, each in shares.items() if not mostly_inside(each, QUARTER)}
    half = [kind for kind, each in left.items() if mostly_inside(each, HALF)]
    said = f"about a half ({_ends(HALF)} in most runs): {', '.join(map(quoted, half)) or 'none'}"
    others = [kind for kind in left if kind not in half]
    return f"{said}; other shares: {', '.join(map(quoted, others))}" if others else said


def told(evidence: Evidence) -> str:
    """What became of the published attack, and of the same with one thing changed; empty where it was not run."""
    kinds = {kind.name: (kind, attacks) for kind, attacks in under_its_generator(evidence)}
    if AS_PUBLISHED not in kinds:
        return ""
    kind, attacks = kinds[AS_PUBLISHED]
    said = f"As published ({AS_PUBLISHED}), Hyper, which listens on {attacks['addresses'].iloc[0]}, answers "
    said += f"{_shares(kind.answered)}{_refused_on_ipv6(attacks)}."
    others = [f"{percent(other.answered.value)} {name}" for name, (other, _) in kinds.items() if name != AS_PUBLISHED]
    return f"{said} With one thing changed: {'; '.join(others)}." if others else said


def on_rivals(evidence: Evidence) -> list[pd.DataFrame]:
    """Attacks as published on Go and on Node.js, in time: a frame for each version of the generator and server.

    With ``lo_rx_dropped``, the packets that this host's own input queue dropped.
    """
    attacks = evidence.attacks_of(ADDRESS)
    if attacks.empty:
        return []
    dropped = [moved.get("lo_rx_dropped", 0) for moved in attacks["counters"]]
    chosen = attacks.assign(lo_rx_dropped=dropped)[attacks["server"].isin(list(RIVALS))]
    return [same for _, same in chosen.groupby("plan_hash", sort=False)]


def told_of_rivals(attacks: Sequence[pd.DataFrame]) -> str:
    """What Go and Node.js answer under the generator of the published version, and how late at worst; empty without any
    attack of it: another version calls another address first.
    """
    published = [same for same in attacks if same["tool"].eq(OLD).all()]
    if not published:
        return ""
    every = pd.concat(published)
    parts = [
        f"{RIVALS[str(server)]} answers {_mean(same)}, 99th percentile at most "
        f"{quantile(same['p99_ms'].max(skipna=False))} in {len(same)} attacks"
        for server, same in every.groupby("server", sort=False)
    ]
    return f"Under the published generator {'; '.join(parts)}."


def finding(evidence: Evidence) -> str:
    """What the figure of the addresses shows, in sentences, as far as there are such attacks.

    Raises:
        MachineError: there is none of the published one.
    """
    attacks = evidence.attacks_of(ADDRESS)
    if attacks.empty:
        raise MachineError(
            f"there is no attack of the plan {ADDRESS!r}", "build what it takes with `python -m harness.trial.foreign`"
        )
    deaf = ipv4_only(attacks)
    failing, later = at_name(attacks, OLD), attacks[deaf & ~attacks.index.isin(at_name(attacks, OLD).index)]
    others = attacks[~deaf & (attacks["tool"] == OLD)]
    said = (
        f"{_servers(failing)}, which listen on 127.0.0.1 only, answer {_mean(failing)} of what the published generator "
        f"asks of {NAME}{_refused_on_ipv6(failing)}."
    )
    if len(others):
        said += f" {_servers(others)}, which listen on both, answer {_mean(others)}."
    if len(later):
        said += f" With a later version of it, or at 127.0.0.1, {_servers(later)} answers {_mean(later)}."
    return said


def _conditions(evidence: Evidence) -> pd.DataFrame:
    """All kinds of storm of :data:`STORMS` as :mod:`analysis.published.conditions` has them; empty without any."""
    tables = [published.storms_of(plan, runs) for plan in STORMS if len(runs := recorded_storms(evidence, plan))]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _ends(band: Band) -> str:
    return f"{band[0]:.0%} to {band[1]:.0%}"


def _servers(attacks: pd.DataFrame) -> str:
    """``Hyper, Actix and Tokio``."""
    *most, last = dict.fromkeys(title(server.partition("-")[0]) for server in attacks["server"])
    return f"{', '.join(most)} and {last}" if most else last


def _mean(attacks: pd.DataFrame) -> str:
    return _shares(over_kinds(attacks, "success_rate", "plan_hash"))


def _refused_on_ipv6(attacks: pd.DataFrame) -> str:
    """Begins with a semicolon; empty where nothing failed."""
    failed = (attacks["requests"] - attacks["answered"]).sum()
    return f"; refused on [::1]: {refused_on_ipv6(attacks).sum():,} of the {failed:,} that failed" if failed else ""


def _shares(interval: Interval) -> str:
    return with_spread(interval, "share")
