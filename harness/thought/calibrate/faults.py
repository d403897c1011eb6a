"""The faults whose causes look like what they are; those that are made to mislead are beside them."""

from __future__ import annotations

from typing import Any

from harness.thought.calibrate import truth
from harness.thought.calibrate.adversarial import adversarial
from harness.thought.calibrate.fault import BURST, COUNTED, LOG, MADE, STALLED, TRACED, Fault, faulty

SLOW_ACCEPTS_MS = 1_500
"""Accepting all takes half as long again as the clients wait."""


def faults(rows: int) -> list[Fault]:
    """All faults, each with ``rows`` connections or a few more."""
    burst = min(rows, BURST)
    storms = -(-rows // burst)
    some = {"clients": rows, "ready": "listening", "timeout_s": 1.0}
    few_at_a_time = some | {"concurrency": min(rows, 100)}
    steadily = some | {"rate": 2_000.0}
    at_once = some | {"timeout_s": 5.0}
    stalled = {"server": "python", "clients": burst, "backlog": 128, "stall_ms": 1_500.0, "timeout_s": 8.0}
    stopped = stalled | {"stall_ms": 3_500.0, "timeout_s": 2.5}
    paused = some | {"client_pause_ms": 1_000.0, "timeout_s": 5.0}
    traced = {"trace": True}
    narrow = {"host_sysctl": {"net.core.netdev_max_backlog": "50"}}
    swamped = {"backlog": 32, "work_us": 5_000_000 // burst, "timeout_s": 12.0}
    # The last ACK must meet a queue that has filled since the SYN: several CPUs issue while the server accepts.
    hardly_keeps_up = {"server": "python", "backlog": 32, "work_us": 200, "rate": 8_000.0, "processes": 8}
    hardly_keeps_up |= {"timeout_s": 8.0}
    stalls = {"command": faulty("nothing-wrong --stall-every-ms 500 --stall-for-ms 400", backlog=64), "rate": rows / 2}
    two_ports_for_three = f"40000 {40_000 + rows * 2 // 3 - 1}"

    def sysctl(name: str, value: str) -> dict[str, Any]:
        return {"sysctl": {f"net.ipv4.{name}": value}}

    def does(what: str, host: str = "{host}") -> dict[str, Any]:
        return {"command": faulty(what, host)}

    return [
        Fault("nothing is wrong", LOG, truth.answered_at_once, few_at_a_time | does("nothing-wrong")),
        Fault("stalled server", MADE, truth.first_in_are_clean, stalled, storms, STALLED),
        Fault("stopped server", MADE, truth.never_resumed, stopped, storms, STALLED),
        Fault("tcp_syncookies=0", MADE, truth.never_resumed, stopped | sysctl("tcp_syncookies", "0"), storms),
        Fault(
            "tcp_syn_linear_timeouts=0",
            MADE,
            truth.never_resumed,
            stopped | sysctl("tcp_syn_linear_timeouts", "0"),
            storms,
        ),
        Fault(
            "accepts slowly",
            LOG,
            truth.slowly_accepted,
            some | does(f"slow-accept --delay-ms {SLOW_ACCEPTS_MS / rows:g}"),
        ),
        Fault("accepts, never answers", LOG, truth.by_log("slow_answer"), steadily | does("never")),
        Fault("answers after 300 ms", LOG, truth.answered_after(1.0), steadily | does("delay --delay-ms 300")),
        Fault("answers too late", LOG, truth.answered_after(1.0), steadily | does("delay --delay-ms 1500")),
        Fault("closes without a byte", LOG, truth.by_log("closed_early"), few_at_a_time | does("close")),
        Fault("resets after accept", LOG, truth.by_log(truth.AFTER_ACCEPT), few_at_a_time | does("reset")),
        Fault(
            "resets before accept",
            LOG,
            truth.left_the_queue,
            some | does("leave --leave-after 200 --stall-for-ms 400") | {"rate": rows / 1.5},
        ),
        Fault("garbage", LOG, truth.by_log("bad_answer"), few_at_a_time | does("garbage")),
        Fault("an error", LOG, truth.by_log("bad_answer"), few_at_a_time | does("error")),
        Fault("half an answer", LOG, truth.by_log("closed_early"), few_at_a_time | does("half")),
        Fault("a wrong length", LOG, truth.by_log("closed_early"), few_at_a_time | does("wrong-length")),
        Fault("an endless header", LOG, truth.by_log("slow_answer"), steadily | does("endless")),
        Fault(
            "nothing listens", MADE, truth.all_are("refused"), some | {"command": "sleep 600 {port}", "ready": "none"}
        ),
        Fault(
            "listens on ::1 only",
            MADE,
            truth.all_are("refused"),
            some | does("nothing-wrong", "::1") | {"ready": "none"},
        ),
        Fault(
            "listens on 127.0.0.1 only",
            MADE,
            truth.all_are("refused"),
            some | does("nothing-wrong", "127.0.0.1") | {"ready": "none", "target_host": "::1"},
        ),
        Fault(
            "client out of files",
            LOG,
            truth.accepted_or("client_out_of_files"),
            at_once | does("delay --delay-ms 300") | {"client_nofile": 128},
        ),
        Fault(
            "client out of ports",
            LOG,
            truth.accepted_or("client_out_of_ports"),
            at_once
            | does("delay --delay-ms 300")
            | sysctl("ip_local_port_range", two_ports_for_three)
            | {"source_ports": "kernel"},
        ),
        Fault(
            "agent paused while issuing",
            MADE,
            truth.paused_in_open_loop,
            paused | does("nothing-wrong") | {"rate": 2_000.0, "clients": 2 * rows},
        ),
        Fault(
            "agent paused while answers wait",
            LOG,
            truth.paused_with_answers_waiting,
            paused | does("delay --delay-ms 150") | {"clients": burst},
            2 * storms,
        ),
        Fault(
            "10 % of SYNs lost on the path",
            COUNTED,
            truth.lost_on_the_way,
            steadily | does("nothing-wrong") | {"rate": 1_000.0, "syn_loss": 0.1, "timeout_s": 10.0},
        ),
        Fault(
            "path loss and overflow at once",
            COUNTED,
            truth.lost_on_the_way_or_dropped,
            stopped | {"syn_loss": 0.4},
            2 * storms,
        ),
        Fault(
            "tcp_abort_on_overflow=1",
            TRACED,
            truth.reset_by_kernel,
            traced | sysctl("tcp_abort_on_overflow", "1") | hardly_keeps_up | {"clients": rows},
        ),
        Fault("stalled server, traced", TRACED, truth.by_trace, traced | stalled, storms, STALLED),
        Fault("ghosts", TRACED, truth.by_trace, traced | stalled | swamped, storms),
        Fault(
            "stalls again and again", TRACED, truth.by_trace, traced | some | stalls | {"timeout_s": 8.0}, 1, STALLED
        ),
        Fault(
            "server out of files",
            TRACED,
            truth.by_trace,
            traced | {"server": "python", "clients": rows, "backlog": 128, "nofile": 64, "timeout_s": 6.0},
            drivers=("out_of_files",),
        ),
        Fault(
            "input queue overrun",
            TRACED,
            truth.by_trace,
            traced | stalled | narrow | {"clients": max(rows, 2_000), "stall_ms": 4_500.0},
        ),
        Fault(
            "SYN queue full, tcp_syncookies=0",
            TRACED,
            truth.by_trace,
            traced | sysctl("tcp_syncookies", "0") | {"server": "python", "clients": 2 * rows, "backlog": 32},
        ),
        *adversarial(rows),
    ]
