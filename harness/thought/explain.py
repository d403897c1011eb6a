"""The story of one run: what happened, to how many, why, and what would mend it. Computed from its record."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow.compute as pc

from harness.events.samples import LO_RX_DROPPED
from harness.events.store import SERVER_LOG
from harness.thought import cause
from harness.thought.episodes import activity
from harness.thought.phases import PHASES
from harness.thought.remedies import Facts, drivers, held_for_the_gone, remedies
from harness.thought.room import busy_rate, idle_while_waited_s, most_waiting
from harness.thought.standstills import standstills
from harness.thought.stats import TIMELINE_STEP_S, pulses
from harness.thought.summary import OUT_OF_FILES, Summary
from harness.thought.traced import Traced, compare, differences


def explain(summary: Summary) -> dict[str, Any]:
    """The story as a JSON document; ``checks`` has the failed ones first."""
    manifest = summary.run.manifest
    counted = cause.counts(summary.causes)
    order = {"fail": 0, "unknown": 1, "pass": 2}
    facts = _facts(summary)
    return {
        "run_id": summary.run.run_id,
        "path": str(summary.run.path.absolute()),
        "status": manifest["status"],
        "error": manifest.get("error"),
        "server": manifest["server"]["name"],
        "planned": summary.load.planned,
        "connections": len(summary.connections),
        "attempts": summary.attempts,
        "checks": [asdict(check) for check in sorted(summary.checks, key=lambda check: order[check.status])],
        "outcomes": summary.outcomes,
        "causes": _causes(summary, counted),
        "phases_share": _phases_share(summary),
        "syns": _syns(summary),
        "episodes": [episode.to_json() for episode in summary.episodes],
        "drivers": drivers(summary.episodes),
        "standstills": [standstill.to_json() for standstill in facts.standstills],
        "timeline": _timeline(summary),
        "pulses": _pulses(summary),
        "remedies": [asdict(remedy) for remedy in remedies(counted, summary.episodes, facts)],
        "traced": _traced(summary),
        "evidence": {"accept": summary.accept_evidence, "syn": summary.syn_evidence},
    }


def _traced(summary: Summary) -> dict[str, Any] | None:
    """How far the kernel's tracepoints agree, where they were followed, and each difference by itself."""
    trace = summary.run.trace()
    if trace is None:
        return None
    run = Traced(summary.connections, summary.causes, trace)
    return {**compare(run), "differences": differences(run)}


def _causes(summary: Summary, counted: dict[str, int]) -> list[dict[str, Any]]:
    """A row for each cause there is, largest first: how many, what it means, details, and the median of each phase."""
    rows = []
    for name, number in sorted(counted.items(), key=lambda item: -item[1]):
        if number:
            chosen = summary.causes.filter(pc.equal(summary.causes["cause"], name))
            details = {row["values"]: row["counts"] for row in chosen["detail"].value_counts().to_pylist()}
            outcomes = summary.connections["outcome"].filter(pc.equal(summary.causes["cause"], name))
            rows.append(
                {
                    "cause": name,
                    "connections": number,
                    "answered": pc.sum(pc.equal(outcomes, "answered")).as_py(),
                    "meaning": cause.MEANINGS[name],
                    "details": {detail: count for detail, count in details.items() if detail},
                    "median_ms": {phase.removesuffix("_us"): _median_ms(chosen[phase]) for phase in PHASES},
                }
            )
    return rows


def _median_ms(column: Any) -> float | None:
    values = column.drop_null().to_numpy()
    return round(float(np.median(values)) / 1000, 3) if len(values) else None


def _phases_share(summary: Summary) -> dict[str, float]:
    """Where the time of all connections went, as shares of their lives together."""
    sums = {phase: pc.sum(summary.causes[phase]).as_py() or 0 for phase in PHASES}
    whole = sum(sums.values()) or 1
    return {phase.removesuffix("_us"): round(us / whole, 4) for phase, us in sums.items()}


def _syns(summary: Summary) -> dict[str, int] | None:
    """What became of all SYNs, by the ledger; None without one."""
    if summary.syn_evidence != "ledger":
        return None
    names = ("syns_left", "syns_arrived", "synacks_sent")
    left, arrived, answered = (int(pc.sum(summary.connections[name]).as_py() or 0) for name in names)
    return {"left": left, "arrived": arrived, "lost_before_tcp": left - arrived, "synacks_sent": answered}


def _timeline(summary: Summary) -> dict[str, Any]:
    """Answers and the deepest queue in each step from the start."""
    answers = summary.timeline
    depths: list[int | None] = [None] * len(answers)
    samples = summary.samples
    if samples is not None and len(samples):
        seen = samples.select(["time_us", "accept_queue"]).drop_null()
        steps = (seen["time_us"].to_numpy() / (TIMELINE_STEP_S * 1e6)).astype(int)
        queue = seen["accept_queue"].to_numpy()
        for step in range(len(answers)):
            low, high = np.searchsorted(steps, (step, step + 1))
            depths[step] = int(queue[low:high].max()) if high > low else None
    last = 1 + int(np.ceil((summary.wall_s or 0) / TIMELINE_STEP_S))
    return {"step_s": TIMELINE_STEP_S, "answers": answers[:last].tolist(), "accept_queue": depths[:last]}


def _pulses(summary: Summary) -> list[dict[str, Any]]:
    """Stretches of answers between silences of a step or more."""
    return [
        {
            "begin_s": round(first * TIMELINE_STEP_S, 1),
            "end_s": round((last + 1) * TIMELINE_STEP_S, 1),
            "answers": answers,
        }
        for first, last, answers in pulses(summary.timeline)
    ]


def _facts(summary: Summary) -> Facts:
    manifest = summary.run.manifest
    somaxconn = manifest["kernel"]["sysctls"].get("net.core.somaxconn")
    queued, given_up = held_for_the_gone(summary.connections, summary.episodes)
    run, has_front = summary.run, "front" in manifest
    out_of_files_lines = run.log_lines(OUT_OF_FILES, summary.met_log)
    still = standstills(summary.connections, summary.samples, summary.episodes, out_of_files_lines)
    return Facts(
        backlog=_backlog_now(summary),
        somaxconn=None if somaxconn is None else int(somaxconn),
        most_waiting=most_waiting(summary.connections, summary.causes),
        target=manifest["target_address"],
        log=str(run.path / summary.met_log) + (f", and {SERVER_LOG} beside it" if has_front else ""),
        idle=_idle(summary, "the load balancer" if has_front else "the server"),
        has_ledger=summary.syn_evidence == "ledger",
        ended=run.front_ended if has_front else run.server_ended,
        out_of_files_first=bool(out_of_files_lines),
        last_words=run.last_words(summary.met_log),
        capacity_per_s=busy_rate(summary.answered["last_byte_us"].to_numpy().astype(np.float64)),
        idle_s=idle_while_waited_s(summary.connections, summary.causes, summary.samples),
        input_queue_dropped=bool(manifest["kernel"].get("counters", {}).get(LO_RX_DROPPED)),
        generator_ok=summary.generator.verdict == "ok",
        agent_stood_still=summary.generator.because if summary.generator.stood_still else "",
        not_issued=summary.connections["issued_us"].null_count,
        has_cpus_of_its_own=manifest["cpu"].get("regime") == "disjoint",
        cpus_apart=max(1, manifest["host"]["cpus"] // 2),
        stopped_listening=_stopped_listening(summary),
        deepest_queues=(manifest.get("probe") or {}).get("deepest_queues") or (),
        standstills=still,
        tried_again=max(0, summary.attempts - summary.load.planned),
        queued=queued,
        given_up=given_up,
        met="the load balancer" if has_front else "the server",
    )


def _backlog_now(summary: Summary) -> int | None:
    """The last that was sampled; what the socket had before the storm where none was."""
    sampled = None if summary.samples is None else summary.samples["backlog"].drop_null()
    backlog: int | None = sampled[-1].as_py() if sampled else summary.met["backlog_effective"]
    return backlog


def _idle(summary: Summary, met: str) -> str:
    """What it did while connections waited that it never accepted."""
    chosen = pc.equal(summary.causes["cause"], "never_accepted")
    did = activity(
        summary.samples,
        pc.min(summary.connections["issued_us"].filter(chosen)).as_py(),
        pc.max(summary.connections["closed_us"].filter(chosen)).as_py(),
    )
    return "it was not sampled meanwhile" if did is None else f"{met} was {did.driver} meanwhile: {did.because}"


def _stopped_listening(summary: Summary) -> bool:
    """Whether most that were refused learnt so after the last connection had been established."""
    refused = summary.connections["closed_us"].filter(pc.equal(summary.connections["outcome"], "refused")).drop_null()
    last = pc.max(summary.connections["established_us"]).as_py()
    return last is not None and len(refused) > 0 and float(np.median(refused.to_numpy())) > last
