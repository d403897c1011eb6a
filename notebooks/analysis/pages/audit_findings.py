"""What follows from the audit, said from its rows: a sentence stands only where the rows bear it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from harness.page.audit import Row, number

OUT_OF_FILES: Mapping[str, str] = {
    "ends": "the process ends, and every client after that is refused",
    "restarts": "its worker ends with all the connections it had, and another is started",
    "stuck": "it does not accept again, though files are free",
    "closes": "new connections are taken and closed, so that clients see a reset or an early end",
    "spins": "it takes a whole CPU from those that could finish and free files",
    "pauses": "nothing is accepted for a while, also when files are free again: pulses that no backlog explains",
    "waits": "it accepts again as soon as files are free",
    "not_reached": "it takes no more connections than it has files for; the rest wait in the accept queue",
}
"""What each word means for clients; of ``unknown`` there is nothing to say."""


def findings(rows: Sequence[Row]) -> str:
    """A list in Markdown."""
    said = [*_by_backlog(rows), *_lock_files(rows), *_two_defaults(rows), *_cap(rows), *_wakeups(rows)]
    said += [*_files(rows), *_families(rows), *_close(rows)]
    return "\n".join(f"- {sentence}" for sentence in said)


def named(rows: Iterable[Row]) -> str:
    """Stacks with their versions, each stack once; the lab's own by their names in the catalogue."""
    versions: dict[str, list[str]] = {}
    for row in rows:
        versions.setdefault("the lab's" if row["lab"] else row["stack"], []).append(
            f"`{row['name']}`" if row["lab"] else row["version"]
        )
    return "; ".join(f"{stack} {', '.join(dict.fromkeys(known))}" for stack, known in versions.items())


def _grouped(rows: Iterable[Row], key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return groups


def _by_backlog(rows: Sequence[Row]) -> Iterable[str]:
    groups = _grouped((row for row in rows if row["backlog_effective"] is not None), lambda r: r["backlog_effective"])
    if groups:
        yield "**Whose queue is full first.** Effective backlogs here, from the smallest:\n" + "\n".join(
            f"  - {backlog:,}: {named(groups[backlog])}" for backlog in sorted(groups)
        )


def _lock_files(rows: Sequence[Row]) -> Iterable[str]:
    """The same release of a stack that asks for different backlogs, by what it is locked to."""
    for (stack, release), same in _grouped(rows, lambda r: (r["stack"], r["version"].partition(" (")[0])).items():
        asked = {row["version"].partition(" (")[2].rstrip(")"): number(row["backlog_asked"]) for row in same}
        if len(set(asked.values())) > 1:
            by = ", ".join(f"{backlog} with {what}" for what, backlog in asked.items())
            yield (
                f"**The lock file decides.** The same {stack} {release} asks for {by}. So the "
                f"backlog of a service can change with `cargo update`, and without a changed line of its own."
            )


def _two_defaults(rows: Sequence[Row]) -> Iterable[str]:
    by_name = {row["name"]: row for row in rows}
    web, server = by_name.get("actix"), by_name.get("actix-server")
    if web and server and web["backlog_asked"] != server["backlog_asked"]:
        yield (
            f"**Actix has two defaults, which is why two are told.** The HttpServer of actix-web makes its listeners "
            f"itself and asks for {number(web['backlog_asked'])}; actix-server, used without it, asks for "
            f"{number(server['backlog_asked'])}. What an actix-web service has is the former."
        )


def _cap(rows: Sequence[Row]) -> Iterable[str]:
    known = [row for row in rows if row["backlog_uncapped"] is not None]
    more = [row for row in known if row["backlog_uncapped"] > row["backlog_effective"]]
    if more:
        yield (
            f"**Raising `net.core.somaxconn` by itself** gives a longer queue to {len(more)} of {len(known)}: "
            f"{named(more)}. All others get what they asked for, and no more: there the program has to ask."
        )


def _wakeups(rows: Sequence[Row]) -> Iterable[str]:
    own = [row for row in rows if row["accepts_per_wakeup"] is not None and "accept loop" not in row["own"]]
    single = [row for row in own if row["accepts_per_wakeup"] == 1 and not row["accept_blocks"]]
    if single:
        yield (
            f"**One accept a wake-up**: {named(single)}. A full queue is emptied one turn of the loop at a time, with "
            f"everything else the loop does in between."
        )


def _files(rows: Sequence[Row]) -> Iterable[str]:
    groups = _grouped((row for row in rows if "accept loop" not in row["own"]), lambda row: row["on_emfile"])
    listed = [
        f"  - *{word.replace('_', ' ')}* ({what}): {named(groups[word])}"
        for word, what in OUT_OF_FILES.items()
        if word in groups
    ]
    if listed:
        yield "**Out of files**, where the accept loop is the stack's own:\n" + "\n".join(listed)
    written = [row for row in rows if "accept loop" in row["own"] and row["on_emfile"] == "ends"]
    if written:
        yield (
            f"**An accept loop as the documentation writes it**, `accept()?`, ends with the first connection for which "
            f"there is no file, and the server with it: {named(written)}."
        )


def _families(rows: Sequence[Row]) -> Iterable[str]:
    single = [row for row in rows if row["dual_stack"] is False and not row["address_told"]]
    if single:
        yield (
            f"**One address family by default**: {named(single)}. A client that takes `localhost` for an address of "
            f"the other one is refused, whatever the backlog."
        )


def _close(rows: Sequence[Row]) -> Iterable[str]:
    refusing = [row for row in rows if not row["honours_close"] and "HTTP" not in row["own"]]
    keeping = [row for row in rows if not row["keeps_alive"] and "HTTP" not in row["own"]]
    if not refusing:
        yield "**`Connection: close` is honoured** by every one of them."
    else:
        yield f"**`Connection: close` is not honoured** by {named(refusing)}."
    if keeping:
        yield f"**No keep-alive by default**: {named(keeping)}: there every request is a short connection."
