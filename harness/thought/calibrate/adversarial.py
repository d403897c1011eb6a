"""Faults that are made to mislead: what is seen of each looks like another fault, or like none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.thought.calibrate import truth
from harness.thought.calibrate.fault import BURST, LOG, MADE, STALLED, TRACED, Fault, faulty

NO_WORD = "no cause is named after a request that was lost: path_loss is said of SYNs"
NOT_COUNTED = "answers are not counted one by one, so that a slow one may have been lost or not"

_HTTP = (
    ("a chunked body", "chunked", truth.answered_at_once),
    ("a body until the stream ends", "until-close", truth.answered_at_once),
    ("a coded body until the stream ends", "coded-until-close", truth.answered_at_once),
    ("100 before 200", "continue", truth.answered_at_once),
    ("103 before 200", "early-hints", truth.answered_at_once),
    ("a surplus byte", "surplus", truth.answered_at_once),
    ("200 and an unasked 500", "two-answers", truth.answered_at_once),
    ("500 and an unasked 200", "error-then-answer", truth.by_log("bad_answer")),
    ("the same length twice", "length-twice", truth.answered_at_once),
    ("two lengths", "two-lengths", truth.by_log("bad_answer")),
)
"""Answers that are easily misread: name, what the server says, and what that is."""


def adversarial(rows: int) -> list[Fault]:
    """Made to mislead: what is seen of each looks like another fault."""
    some = {"clients": rows, "ready": "listening", "timeout_s": 3.0}
    traced = some | {"trace": True}
    burst = min(rows, BURST)

    def changes(what: str, backlog: int = 4096) -> dict[str, Any]:
        return {"command": faulty(what, backlog=backlog, program="sockets.py")}

    def loses(what: str, where: str = "input", backlog: int = 4096) -> dict[str, Any]:
        losing = f"nothing-wrong --lose {what} --lose-at {where}"
        return {"command": faulty(losing, backlog=backlog)}

    few_at_a_time = some | {"concurrency": min(rows, 100)}
    gently = some | {"rate": rows / 1.5, "timeout_s": 8.0}
    made = [
        Fault(
            "workers that come and go",
            TRACED,
            truth.by_trace,
            traced | changes("come-and-go --work-us 2000", 32) | {"clients": burst, "timeout_s": 8.0},
            drivers=("accept_bound", "cpu_starved"),
        ),
        Fault(
            "sleeps 300 ms each second",
            TRACED,
            truth.by_trace,
            traced
            | {"command": faulty("nothing-wrong --stall-every-ms 1000 --stall-for-ms 300", backlog=32)}
            | {"rate": rows / 2, "timeout_s": 8.0},
            drivers=STALLED,
        ),
        Fault(
            "a listener that appears late",
            LOG,
            truth.accepted_or_queued,
            gently | changes(f"late --after {rows // 4}") | {"timeout_s": 2.0},
        ),
        Fault(
            "a listener closed and opened again",
            LOG,
            truth.cut_off_in_the_queue,
            gently | changes(f"reopen --after {rows // 4}"),
        ),
        Fault(
            "listens anew with a smaller backlog",
            TRACED,
            truth.by_trace,
            gently | {"trace": True} | changes(f"shrink --after {rows // 4}", 256),
        ),
        Fault(
            "four listeners, one stopped",
            LOG,
            truth.accepted_or_queued,
            gently | changes(f"one-stops --after {rows // 40}") | {"timeout_s": 2.0},
        ),
        Fault("SYNs lost behind the ledger", LOG, truth.lost_by_firewall, gently | loses("syns")),
        Fault("SYNs lost on the far side", LOG, truth.lost_by_firewall, gently | loses("syns", "prerouting")),
        Fault("requests lost", LOG, truth.lost_by_firewall, gently | loses("requests"), unknown_because=NO_WORD),
        Fault(
            "requests lost, and queues full",
            f"{LOG}; {TRACED}",
            truth.lost_by_firewall_or_traced,
            traced | loses("requests", backlog=16) | {"clients": burst, "timeout_s": 8.0},
            unknown_because=NO_WORD,
        ),
        Fault("answers lost", LOG, truth.lost_by_firewall, gently | loses("answers"), unknown_because=NOT_COUNTED),
        Fault(
            "nobody there, 60,000 a second",
            MADE,
            truth.all_are("refused"),
            some | {"clients": max(rows, 4_000), "command": "sleep 600 {port}", "ready": "none", "rate": 60_000.0},
        ),
        Fault(
            "a traced storm of 20,000, with drops",
            TRACED,
            truth.by_trace,
            {"server": "python", "backlog": 128, "trace": True, "timeout_s": 30.0}
            | {"clients": 20_000 if rows > BURST else 2 * BURST},
            unknown_because="a copy of a ghost's request was lost too, and which of the two took longer is not known",
        ),
    ]
    made += [Fault(name, LOG, says, few_at_a_time | {"command": faulty(word)}) for name, word, says in _HTTP]
    return [replace(fault, adversarial=True) for fault in made]
