"""A row of the audit: what was seen of a server, and what it comes to."""

from __future__ import annotations

import time
from typing import Any

from harness.servers.audit.observed import Observed
from harness.servers.audit.out_of_files import verdict
from harness.servers.audit.subjects import Subject


def row(subject: Subject, seen: Observed) -> dict[str, Any]:
    """The contract's columns, then those that say more; null is what could not be seen."""
    files = seen.out_of_files
    return {
        "name": subject.name,
        "stack": subject.stack,
        "version": subject.version or seen.announced or "unknown",
        "backlog_asked": asked(seen),
        "backlog_effective": seen.backlog,
        "backlog_uncapped": seen.backlog_raised,
        "follows_somaxconn": follows(seen),
        "on_emfile": verdict(files),
        "emfile": None if files is None else files.to_json(),
        "dual_stack": None if seen.answers_ipv6 is None else seen.answers_ipv4 and seen.answers_ipv6,
        "addresses": list(seen.addresses),
        "address_told": subject.told,
        "honours_close": seen.honours_close,
        "keeps_alive": seen.keeps_alive,
        "accepts_per_wakeup": seen.accepts,
        "burst": seen.burst,
        "accept_blocks": seen.accepts_blocking if seen.traced else None,
        "own": list(subject.own),
        "lab": subject.lab,
        "why": subject.why,
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "evidence": evidence(seen),
    }


def asked(seen: Observed) -> int | None:
    """The backlog passed to listen(2).

    From the trace, where there is one. Else from the kernel: a value below the limit is what was asked for, also with
    the limit raised; who follows the limit asked for that much or more, and how much is not known.
    """
    if seen.asked:
        return seen.asked[-1]
    if seen.backlog is None or seen.backlog == seen.somaxconn:
        return seen.backlog_raised if seen.backlog_raised is not None and not follows(seen) else None
    return seen.backlog


def follows(seen: Observed) -> bool | None:
    """Whether its backlog is whatever net.core.somaxconn is; None where that could not be raised."""
    if seen.backlog is None or seen.backlog_raised is None:
        return None
    return seen.backlog == seen.somaxconn and seen.backlog_raised == seen.somaxconn_raised


def evidence(seen: Observed) -> str:
    """Where ``backlog_asked`` and ``accepts_per_wakeup`` come from; the rest is the kernel's, or seen by a client."""
    return "strace" if seen.traced else "kernel"
