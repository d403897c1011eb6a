"""What is told of a server that is watched: a document, a line, or metrics for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from harness.thought.episodes import APART_US, Episode, episodes

OVERFLOWS, DROPS = "ListenOverflows", "ListenDrops"


@dataclass(frozen=True, slots=True)
class Seen:
    """One socket in one interval."""

    address: str
    port: int
    inode: int
    pids: tuple[int, ...]
    depth: int
    deepest: int
    """Of the samples of the interval."""
    backlog: int
    files: int | None
    files_limit: int | None
    cpus: float | None
    """That its processes used."""
    waiting_for_cpu: float | None
    """Threads that were ready and had none, on average."""
    full: Episode | None
    """The episode of a full queue that goes on."""
    ended: tuple[Episode, ...]
    """Those that are over, of all that there are samples of."""

    @property
    def name(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{host}:{self.port}"

    def to_json(self) -> dict[str, Any]:
        return {
            "address": self.address,
            "port": self.port,
            "inode": self.inode,
            "pids": list(self.pids),
            "accept_queue": self.depth,
            "deepest": self.deepest,
            "backlog": self.backlog,
            "server_files": self.files,
            "server_files_limit": self.files_limit,
            "cpus_used": self.cpus,
            "threads_waiting_for_cpu": self.waiting_for_cpu,
            "full": None if self.full is None else self.full.to_json(),
            "episodes": [one.to_json() for one in self.ended],
        }


Samples = Sequence[Mapping[str, int | None]]
"""With the names of ``samples.parquet``."""


def seen(
    where: tuple[str, int, int], pids: tuple[int, ...], depth: int, backlog: int, samples: Samples, since_us: int
) -> Seen:
    """What the samples of a socket, ``where`` with address, port and inode, say of the time since ``since_us``."""
    address, port, inode = where
    inside = [one for one in samples if (one["time_us"] or 0) >= since_us]
    now_us = (samples[-1]["time_us"] or 0) if samples else since_us
    found = episodes(_table(samples))
    open_one = next((one for one in found if now_us - one.end_us <= APART_US), None)
    ended = [one for one in found if one is not open_one]
    depths = [one["accept_queue"] or 0 for one in inside] or [depth]
    return Seen(
        address=address,
        port=port,
        inode=inode,
        pids=pids,
        depth=depth,
        deepest=max(depths),
        backlog=backlog,
        files=_last(inside, "server_files"),
        files_limit=_last(inside, "server_files_limit"),
        cpus=_rate(inside, "server_cpu_us"),
        waiting_for_cpu=_rate(inside, "server_wait_us"),
        full=open_one,
        ended=tuple(ended),
    )


def document(at_s: float, sockets: Sequence[Seen], moved: Mapping[str, int]) -> dict[str, Any]:
    """One interval, ``at_s`` seconds after the watch began."""
    return {"seconds": round(at_s, 3), "counters": dict(moved), "sockets": [one.to_json() for one in sockets]}


def line(one: Seen, moved: Mapping[str, int]) -> str:
    """One socket in one interval, to be read."""
    said = f"{one.name}: queue {one.depth} (deepest {one.deepest}) of {one.backlog}"
    said += f", overflows {moved.get(OVERFLOWS, 0)}"
    if one.files is not None and one.files_limit is not None:
        said += f", files {one.files} of {one.files_limit}"
    if one.cpus is not None:
        said += f", CPUs {one.cpus:.2f}"
    if one.waiting_for_cpu is not None:
        said += f", waiting for one {one.waiting_for_cpu:.2f}"
    if one.full is not None:
        said += f" · FULL for {one.full.duration_ms:,.0f} ms: {one.full.driver} ({one.full.because})"
    return said


def told(one: Seen, episode: Episode) -> str:
    """An episode that is over."""
    dropped = "" if episode.overflows is None else f", {episode.overflows:,} overflows in its namespace"
    return f"{one.name} was full for {episode.duration_ms:,.0f} ms{dropped}: {episode.driver} ({episode.because})"


def metrics(sockets: Sequence[Seen], counters: Mapping[str, int]) -> str:
    """For a node exporter's textfile collector, in the text format of Prometheus."""
    families: dict[str, tuple[str, str, list[str]]] = {
        "stormlab_accept_queue": ("gauge", "connections complete and not yet accepted", []),
        "stormlab_accept_queue_deepest": ("gauge", "most of them in the last interval", []),
        "stormlab_backlog": ("gauge", "the listening socket's backlog", []),
        "stormlab_open_files": ("gauge", "open files of the fullest process", []),
        "stormlab_open_files_limit": ("gauge", "its limit", []),
        "stormlab_listen_overflows_total": ("counter", "of the network namespace", []),
        "stormlab_listen_drops_total": ("counter", "of the network namespace", []),
    }
    for one in sockets:
        labels = f'{{address="{one.address}",port="{one.port}",inode="{one.inode}"}}'
        for name, value in (
            ("accept_queue", one.depth),
            ("accept_queue_deepest", one.deepest),
            ("backlog", one.backlog),
            ("open_files", one.files),
            ("open_files_limit", one.files_limit),
        ):
            if value is not None:
                families[f"stormlab_{name}"][2].append(f"stormlab_{name}{labels} {value}")
    for name, counter in (("listen_overflows_total", OVERFLOWS), ("listen_drops_total", DROPS)):
        families[f"stormlab_{name}"][2].append(f"stormlab_{name} {counters.get(counter, 0)}")
    lines = []
    for name, (kind, meaning, values) in families.items():
        if values:
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", *values]
    return "\n".join(lines) + "\n"


def moved(counters: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """The counters of the namespace that say something of queues, since ``before``."""
    return {name: counters.get(name, 0) - before.get(name, 0) for name in (OVERFLOWS, DROPS, "TCPReqQFullDrop")}


def _table(samples: Samples) -> pa.Table | None:
    if not samples:
        return None
    return pa.table({name: pa.array([one[name] for one in samples], pa.int64()) for name in samples[0]})


def _last(samples: Samples, name: str) -> int | None:
    return next((one[name] for one in reversed(samples) if one[name] is not None), None)


def _rate(samples: Samples, name: str) -> float | None:
    known = [(one["time_us"] or 0, one[name] or 0) for one in samples if one[name] is not None]
    if len(known) < 2 or known[-1][0] == known[0][0]:
        return None
    return (known[-1][1] - known[0][1]) / (known[-1][0] - known[0][0])
