"""What is compared: five kinds of load, and who drives each of them beside the lab."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from contenders import EPOLL, LAB, PYTHON_ENGINE
from harness.machine import host
from harness.plan import Load
from harness.plan.slices import FILES_RESERVED

Kind = Literal["closed loop", "storm", "keep-alive", "HTTP/2", "open loop"]
CONCURRENCY = 100
KEPT, LINKS = 10, 4
"""Connections of the keep-alive load, and of HTTP/2."""
PACED_S = 1.5
"""How long an open loop lasts."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One load, driven by the lab and by others, each with the same number of processes or threads."""

    kind: Kind
    title: str
    load: Load
    processes: int
    contenders: tuple[str, ...]
    """Beside the lab."""
    ambition: float | None = None
    """What the lab, which records every row meanwhile, wants to reach of each peer's speed."""
    peers: tuple[str, ...] = field(default=())
    """The contenders whose speed the ambition is about."""
    fewer: Load | None = None
    """The load of the engine in Python, where it is not the same."""

    @property
    def name(self) -> str:
        return f"{self.title}, {self.processes} against {self.processes}"

    def load_of(self, contender: str) -> Load:
        """A slow one drives fewer requests: they are over in about the time that the others take."""
        return self.fewer if contender == PYTHON_ENGINE and self.fewer is not None else self.load

    @property
    def everyone(self) -> tuple[str, ...]:
        return LAB, *self.contenders


def comparisons(quick: bool) -> list[Comparison]:
    """All there is to compare; ``quick`` only shows that it works. The open loop's rate is not known before."""
    short, kept, streams = (2_000, 1_000, 5_000) if quick else (20_000, 24_000, 300_000)
    storm = min(2_000 if quick else 15_000, host.files_limit()[1] - FILES_RESERVED)
    closed_loop = Load(clients=short, concurrency=CONCURRENCY)
    keep_alive = Load(clients=KEPT, requests_per_client=kept)
    http2 = Load(clients=streams, connections=LINKS, http2=True)
    fewer: dict[Kind, Load] = {
        "keep-alive": replace(keep_alive, requests_per_client=kept // 4),
        "HTTP/2": replace(http2, clients=streams // 20),
    }
    titles: dict[Kind, str] = {
        "closed loop": f"closed loop of new connections, {CONCURRENCY} in flight",
        "storm": f"storm of {storm:,} connections",
        "keep-alive": f"keep-alive, {KEPT} connections",
        "HTTP/2": f"HTTP/2, {LINKS} connections, 100 streams each",
        "open loop": "open loop of new connections, half of the capacity",
    }

    def compared(
        kind: Kind, load: Load, processes: int, others: tuple[str, ...], ambition: float | None, *peers: str
    ) -> Comparison:
        return Comparison(kind, titles[kind], load, processes, others, ambition, peers or others, fewer.get(kind))

    fast = ("wrk", "ab", "h2load")
    each = (*fast, "hey", "oha", "vegeta", "bombardier")
    kept_by = (*fast, "oha", "bombardier")
    first = [
        compared("closed loop", closed_loop, 1, (PYTHON_ENGINE, *each), 1.05, *each),
        compared("storm", Load(clients=storm), 1, (PYTHON_ENGINE, EPOLL, "h2load"), 0.97, EPOLL),
        compared("keep-alive", keep_alive, 1, (PYTHON_ENGINE, *kept_by), 1.0, "wrk"),
        compared("HTTP/2", http2, 1, (PYTHON_ENGINE, "h2load", "oha"), 0.95, "h2load"),
        compared("open loop", closed_loop, 1, (PYTHON_ENGINE, "vegeta", "oha"), None),
    ]
    second = [
        compared("closed loop", closed_loop, 2, fast, 1.05),
        compared("storm", Load(clients=storm), 2, (EPOLL,), 0.97),
        compared("keep-alive", keep_alive, 2, ("wrk",), 1.0),
        compared("HTTP/2", http2, 2, ("h2load",), 0.95),
    ]
    return first + second


def paced(comparison: Comparison, capacity_per_s: float) -> Comparison:
    """An open loop at half of what a closed loop of the same connections has come to."""
    rate = float(max(100, math.floor(capacity_per_s / 2 / 100) * 100))
    title = f"open loop of new connections, {rate:,.0f} a second"
    return replace(comparison, title=title, load=Load(clients=round(rate * PACED_S), rate=rate))


def lab_command(load: Load, processes: int, engine: str) -> str:
    """The flags with which `stormlab run` drives the same load."""
    words = ["stormlab run", f"--clients {load.clients}"]
    if load.requests_per_client > 1:
        words.append(f"--requests-per-client {load.requests_per_client}")
    if load.http2:
        words.append(f"--http2 --connections {load.connections}")
    if load.concurrency:
        words.append(f"--concurrency {load.concurrency}")
    if load.rate:
        words.append(f"--rate {load.rate:g}")
    return " ".join([*words, f"--processes {processes} --engine {engine} --no-probe --no-ledger"])
