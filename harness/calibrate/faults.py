"""The faults: how each is produced, and who says what became of its connections."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.calibrate import truth
from harness.calibrate.truth import Truth

_FAULTY = Path(__file__).parent.parent / "servers" / "faulty" / "server.py"
LOG, COUNTED, MADE = "the faulty server's log", "nftables' set of what it threw away", "construction"
BURST = 1_000
"""A burst of this many fits into any host's input queue, so that it loses nothing (net.core.netdev_max_backlog)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: the options of its storms, how many make up the rows, and its truth."""

    name: str
    truth_source: str
    truth: Truth
    options: Mapping[str, Any]
    storms: int = 1
    needs: tuple[str, ...] = field(default=())
    """Of ``nft``, ``ipv6``, ``isolation``."""


def faulty(what: str, backlog: int = 4096) -> str:
    """The command line of a server that fails in this way."""
    program = f"{shlex.quote(sys.executable)} {shlex.quote(str(_FAULTY))}"
    return f"{program} --host {{host}} --port {{port}} --backlog {backlog} --do {what}"


def faults(rows: int) -> list[Fault]:
    """All faults, each with at least ``rows`` connections where their number is free."""
    burst = min(rows, BURST)
    storms = -(-rows // burst)
    steady = {"clients": rows, "concurrency": min(rows, 100), "ready": "listening", "timeout_s": 1.0}
    waits = {"clients": rows, "ready": "listening", "timeout_s": 1.0, "rate": 2_000.0}
    stopped = {"server": "python", "clients": burst, "backlog": 128, "timeout_s": 8.0}
    for_good = stopped | {"stall_ms": 3_500.0, "timeout_s": 2.5}
    return [
        Fault("nothing is wrong", LOG, truth.answered_at_once, steady | {"command": faulty("nothing-wrong")}),
        Fault("stalled server", MADE, truth.first_in_are_clean, stopped | {"stall_ms": 1_500.0}, storms),
        Fault("stopped for good", MADE, truth.never_resumed, for_good, storms),
        Fault(
            "stopped, tcp_syncookies=0",
            MADE,
            truth.never_resumed,
            for_good | {"sysctl": {"net.ipv4.tcp_syncookies": "0"}},
            storms,
            ("isolation",),
        ),
        Fault(
            "stopped, tcp_syn_linear_timeouts=0",
            MADE,
            truth.never_resumed,
            for_good | {"sysctl": {"net.ipv4.tcp_syn_linear_timeouts": "0"}},
            storms,
            ("isolation",),
        ),
        Fault(
            "tcp_abort_on_overflow=1",
            MADE,
            truth.reset_by_kernel,
            stopped
            | {
                "clients": max(rows, 4_000),
                "stall_ms": 1_500.0,
                "processes": 3,
                "sysctl": {"net.ipv4.tcp_abort_on_overflow": "1"},
            },
            1,
            ("isolation",),
        ),
        Fault("accepts, never answers", LOG, truth.by_log("slow_answer"), waits | {"command": faulty("never")}),
        Fault(
            "answers after 300 ms",
            LOG,
            truth.delayed(300, 1.0),
            waits | {"command": faulty("delay --delay-ms 300")},
        ),
        Fault(
            "answers after the deadline",
            LOG,
            truth.delayed(1_500, 1.0),
            waits | {"command": faulty("delay --delay-ms 1500")},
        ),
        Fault("closes without a byte", LOG, truth.by_log("closed_early"), steady | {"command": faulty("close")}),
        Fault("resets after accept", LOG, truth.by_log("reset"), steady | {"command": faulty("reset")}),
        Fault(
            "resets before accept",
            LOG,
            truth.left_the_queue,
            waits | {"command": faulty("leave --leave-after 200 --stall-for-ms 400"), "rate": rows / 1.5},
        ),
        Fault("garbage", LOG, truth.by_log("bad_answer"), steady | {"command": faulty("garbage")}),
        Fault("an error", LOG, truth.by_log("bad_answer"), steady | {"command": faulty("error")}),
        Fault("half an answer", LOG, truth.by_log("closed_early"), steady | {"command": faulty("half")}),
        Fault("a wrong length", LOG, truth.by_log("closed_early"), steady | {"command": faulty("wrong-length")}),
        Fault("an endless header", LOG, truth.by_log("slow_answer"), waits | {"command": faulty("endless")}),
        Fault(
            "nothing listens",
            MADE,
            truth.by_construction("refused"),
            {"command": "sleep 600 {port}", "clients": rows, "ready": "none"},
        ),
        Fault(
            "listens on ::1 only",
            MADE,
            truth.by_construction("refused"),
            steady | {"command": faulty("nothing-wrong").replace("{host}", "::1"), "ready": "none"},
            1,
            ("ipv6",),
        ),
        Fault(
            "listens on 127.0.0.1 only, ::1 is called",
            MADE,
            truth.by_construction("refused"),
            steady
            | {
                "command": faulty("nothing-wrong").replace("{host}", "127.0.0.1"),
                "target_host": "::1",
                "ready": "none",
            },
            1,
            ("ipv6",),
        ),
        Fault(
            "client out of files",
            LOG,
            truth.accepted_or("client_out_of_files"),
            waits
            | {
                "command": faulty("delay --delay-ms 300"),
                "client_nofile": 128,
                "rate": None,
                "clients": rows,
                "timeout_s": 5.0,
            },
        ),
        Fault(
            "client out of ports",
            LOG,
            truth.accepted_or("client_out_of_ports"),
            waits
            | {
                "command": faulty("delay --delay-ms 300"),
                "source_ports": "kernel",
                "rate": None,
                "timeout_s": 5.0,
                "sysctl": {"net.ipv4.ip_local_port_range": f"40000 {40_000 + rows // 2 - 1}"},
            },
            1,
            ("isolation",),
        ),
        Fault(
            "agent paused while issuing",
            MADE,
            truth.paused_in_open_loop,
            waits
            | {"command": faulty("nothing-wrong"), "client_pause_ms": 800.0, "timeout_s": 5.0, "clients": 2 * rows},
        ),
        Fault(
            "agent paused while answers wait",
            LOG,
            truth.paused_with_answers_waiting,
            waits
            | {
                "command": faulty("delay --delay-ms 150"),
                "client_pause_ms": 1_000.0,
                "rate": None,
                "timeout_s": 5.0,
                "clients": burst,
            },
            2 * storms,
        ),
        Fault(
            "10 % of SYNs lost on the path",
            COUNTED,
            truth.lost_on_the_way,
            waits | {"command": faulty("nothing-wrong"), "syn_loss": 0.1, "timeout_s": 10.0, "rate": 1_000.0},
            1,
            ("nft", "isolation"),
        ),
        Fault(
            "path loss and overflow at once",
            COUNTED,
            truth.lost_on_the_way_or_dropped,
            for_good | {"syn_loss": 0.4},
            storms,
            ("nft", "isolation"),
        ),
    ]
