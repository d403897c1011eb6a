"""RUN: what one run comes to, computed from its record; the JSON document of the contract."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from harness.events.check import Check
from harness.events.kernel import TICK_US
from harness.events.protocol import Protocol, heard
from harness.events.samples import LO_RX_DROPPED
from harness.events.store import FRONT_LOG, SERVER_LOG, Run
from harness.events.tables import OUTCOMES
from harness.plan import Load
from harness.thought import cause, checks, stats
from harness.thought.agents_still import longest_standstill_ms
from harness.thought.episodes import Episode, episodes
from harness.thought.generator import STOOD_STILL_MS, Generator, judge

NOT_TOLD = ("command", "accept_stamp", "is_the_labs")
"""What the manifest says of the server and RUN does not."""
OUT_OF_FILES = re.compile(rb"too many open files|EMFILE|ENFILE", re.IGNORECASE)
"""How runtimes name the two errors in their logs."""


@dataclass(frozen=True)
class Summary:
    """One run with its tables; everything is computed when first asked for."""

    run: Run

    @functools.cached_property
    def connections(self) -> pa.Table:
        return self.run.connections()

    @functools.cached_property
    def samples(self) -> pa.Table | None:
        """Of the listening socket that the storm met, and its process."""
        return self.run.samples()

    @functools.cached_property
    def server_samples(self) -> pa.Table | None:
        """Of the server, whatever the storm met first."""
        return self.run.server_samples() if "front" in self.run.manifest else self.samples

    @functools.cached_property
    def requests(self) -> pa.Table:
        return self.run.requests()

    @functools.cached_property
    def load(self) -> Load:
        return self.run.trial.load

    @functools.cached_property
    def outcomes(self) -> dict[str, int]:
        """Requests by outcome; every word is there, the sum is ``planned``."""
        counted = {row["values"]: row["counts"] for row in pc.value_counts(self.requests["outcome"]).to_pylist()}
        return {outcome: counted.get(outcome, 0) for outcome in OUTCOMES}

    @functools.cached_property
    def answered(self) -> pa.Table:
        return self.requests.filter(pc.equal(self.requests["outcome"], "answered"))

    @functools.cached_property
    def latencies(self) -> stats.Latencies:
        """From the reference time (when it was wanted in open loops and pools, else the issue) to the last byte."""
        reference = "scheduled_us" if self.load.rate is not None or self.load.pooled else "issued_us"
        elapsed_us = numbers(self.answered, "last_byte_us") - numbers(self.answered, reference)
        return stats.Latencies(np.sort(elapsed_us / 1000), self.load.planned - len(self.answered))

    @functools.cached_property
    def since_wanted(self) -> stats.Latencies:
        """From when it was wanted to the last byte: in a burst that is the start, whenever it is issued."""
        if not self.load.is_burst or self.load.pooled or self.load.requests_per_client > 1:
            return self.latencies
        ends_ms = np.sort(numbers(self.answered, "last_byte_us") / 1000)
        return stats.Latencies(ends_ms, self.latencies.unanswered)

    @functools.cached_property
    def attempts(self) -> int:
        """Of all requests; one for each that was issued, unless they were tried again."""
        if "attempts" in self.requests.column_names:
            return int(pc.sum(self.requests["attempts"]).as_py() or 0)
        return int(len(self.requests) - self.requests["issued_us"].null_count)

    @functools.cached_property
    def requests_at_once(self) -> int | None:
        """The most requests that were under way on one connection at one moment; of those that were answered.

        None where requests were tried again, as they are issued with their first attempt and carried by the last.
        """
        if self.load.retries.attempts > 1:
            return None
        begins, ends = (numbers(self.answered, name) for name in ("issued_us", "last_byte_us"))
        apart = numbers(self.answered, "connection").astype(np.int64) * (1 + ends.max(initial=0))
        return stats.peak_overlap(begins + apart, ends + apart)

    @property
    def connections_made(self) -> int:
        return int(len(self.connections) - self.connections["issued_us"].null_count)

    @functools.cached_property
    def protocol(self) -> Protocol:
        return heard(self.run.manifest["agents"])

    @functools.cached_property
    def generator(self) -> Generator:
        manifest = self.run.manifest
        return judge(
            manifest["agents"],
            manifest["agents_planned"],
            self.latencies,
            self.server_busy,
            slots_late_ms=self.slots_late_ms,
            still_ms=self.agents_still_ms,
        )

    @functools.cached_property
    def slots_late_ms(self) -> float | None:
        """How long after its pacing slot all but a hundredth of the connections was issued; None without slots."""
        if self.load.rate is None:
            return None
        late_us = pc.subtract(self.connections["issued_us"], self.connections["scheduled_us"]).drop_null()
        return float(np.quantile(late_us.to_numpy(), 0.99)) / 1000 if len(late_us) else None

    @functools.cached_property
    def agents_still_ms(self) -> float:
        """How long an agent did nothing though it had something to do; 0 of loads at a rate, whose slots tell it."""
        if self.load.rate is not None:
            return 0.0
        burst = self.load.is_burst and not self.load.pooled
        return longest_standstill_ms(self.connections, self.requests, burst=burst, longer_ms=STOOD_STILL_MS)

    @property
    def server_busy(self) -> float | None:
        """Of the CPUs that the server could use in the storm, the share that it did; a thread is at most one CPU."""
        used_s = self.run.manifest["server"].get("storm_cpu_s")
        if used_s is None or not self.wall_s:
            return None
        cpus = len(self.run.manifest["cpu"]["server"])
        threads = None if self.server_samples is None else pc.max(self.server_samples["server_threads"]).as_py()
        return float(used_s / (self.wall_s * min(cpus, threads or cpus)))

    @functools.cached_property
    def checks(self) -> list[Check]:
        manifest = self.run.manifest
        about = checks.Conditions(
            load=self.load,
            counters=manifest["kernel"].get("counters"),
            client_cpus=len(manifest["cpu"]["clients"]),
            host_cpus=manifest["host"]["cpus"],
            hops=2 if "front" in manifest else 1,
            opened=self._opened,
            tick_us=self.tick_us,
        )
        return checks.check_run(self.connections, self.requests, self.samples, about, self.generator)

    @property
    def tick_us(self) -> float:
        """The grain of what the kernel dates by its timer interrupt."""
        return float(self.run.manifest["kernel"].get("tick_us", TICK_US))

    @property
    def _opened(self) -> int | None:
        """Connections that the kernel says were opened in the storm, where only the clients can have opened any.

        Not known of a server of the user's, which may call others, nor where an agent was killed between writing down a
        connection and making it.
        """
        manifest = self.run.manifest
        alone = manifest["kernel"].get("isolated") and "front" not in manifest and manifest["server"].get("is_the_labs")
        opened = manifest["kernel"].get("counters", {}).get("ActiveOpens")
        complete = len(manifest["agents"]) == manifest["agents_planned"]
        return int(opened) if opened is not None and alone and complete else None

    @functools.cached_property
    def causes(self) -> pa.Table:
        """Cause and phases of each connection, columns as in :data:`cause.COLUMNS`; made when not kept."""
        kept = self.run.thought(str(cause.RULES_VERSION))
        if kept is not None and len(kept) == len(self.connections):
            return kept
        made = cause.causes(self.connections, self.samples, self.circumstances)
        self.run.keep_thought(made)
        return made

    @property
    def circumstances(self) -> cause.Circumstances:
        manifest = self.run.manifest
        counters = manifest["kernel"].get("counters", {})
        if "front" in manifest:  # most of them count on both hops
            counters = {name: count for name, count in counters.items() if name == LO_RX_DROPPED}
        return cause.Circumstances(
            load=self.load,
            counters=counters,
            target=manifest["target_address"],
            accept_stamp=str(manifest["server"]["accept_stamp"]),
            listeners=self.met.get("listeners", 1),
            tick_us=self.tick_us,
        )

    @property
    def met(self) -> Mapping[str, Any]:
        """What the manifest says of the one whose listener the storm met: the load balancer if there is one."""
        manifest = self.run.manifest
        found: Mapping[str, Any] = manifest.get("front", manifest["server"])
        return found

    @property
    def met_log(self) -> str:
        """The name of what that one wrote, in the run's folder."""
        return FRONT_LOG if "front" in self.run.manifest else SERVER_LOG

    @functools.cached_property
    def episodes(self) -> list[Episode]:
        """Stretches of a full accept queue, each with what drove it."""
        return episodes(self.samples, self.run.log_lines(OUT_OF_FILES, self.met_log))

    @functools.cached_property
    def timeline(self) -> NDArray[np.int64]:
        """Answers in each step of :data:`harness.thought.stats.TIMELINE_STEP_S`."""
        return stats.timeline(numbers(self.answered, "last_byte_us"))

    @functools.cached_property
    def server_files(self) -> tuple[int, int] | None:
        """(most open files of the server's fullest process, its soft limit) in the samples, if there are any.

        The limit is the running process's own: a runtime may have raised it when it began.
        """
        if self.server_samples is None:
            return None
        most, limit = (pc.max(self.server_samples[name]).as_py() for name in ("server_files", "server_files_limit"))
        return None if most is None or limit is None else (most, limit)

    @staticmethod
    def deepest(samples: pa.Table | None) -> int | None:
        """The most connections that all queues of a port held together in the samples; None where that is not known."""
        if samples is None or "accept_queues" not in samples.column_names:
            return None
        deepest: int | None = pc.max(samples["accept_queues"]).as_py()
        return deepest

    @property
    def out_of_files_lines(self) -> int | None:
        """How often the server's log says that it ran out of files; None where the log was not kept."""
        return self.run.log_lines(OUT_OF_FILES) if self.run.has_log else None

    @property
    def accept_evidence(self) -> str:
        """The tier of what is known of accept times: the server's stamps, bounds from the samples, or ``none``."""
        if self.connections["accepted_us"].null_count < len(self.connections):
            return str(self.run.manifest["server"]["accept_stamp"])
        return "bounded" if pc.any(pc.equal(self.causes["accept_evidence"], "bounded")).as_py() else "none"

    @property
    def syn_evidence(self) -> str:
        """The tier of what is known of each SYN: counted for each connection, or for the namespace as a whole."""
        column = self.connections["syns_arrived"]
        return "ledger" if column.null_count < len(column) else "counters"

    @property
    def success_rate(self) -> float:
        return self.outcomes["answered"] / self.load.planned

    @functools.cached_property
    def throughput_per_s(self) -> float | None:
        """Answered requests / seconds from the first issue to the last answer."""
        first, last = pc.min(self.requests["issued_us"]).as_py(), pc.max(self.answered["last_byte_us"]).as_py()
        return None if last is None or last <= first else len(self.answered) / (last - first) * 1e6

    @functools.cached_property
    def wall_s(self) -> float | None:
        """First issue to last end."""
        first = pc.min(self.connections["issued_us"]).as_py()
        last = pc.max(self.connections["closed_us"]).as_py()
        return None if first is None or last is None else (last - first) / 1e6

    @functools.cached_property
    def peak_in_flight(self) -> int:
        """The most connections between connect() and their end at one moment, from the rows."""
        both = pc.and_(pc.is_valid(self.connections["issued_us"]), pc.is_valid(self.connections["closed_us"]))
        lived = self.connections.filter(both)
        return stats.peak_overlap(numbers(lived, "issued_us"), numbers(lived, "closed_us"))

    @functools.cached_property
    def first_try(self) -> int:
        """Connections answered without any retransmission."""
        clean = pc.and_(
            pc.equal(self.connections["outcome"], "answered"), pc.equal(self.connections["total_retransmits"], 0)
        )
        return int(pc.sum(clean).as_py() or 0)

    @functools.cached_property
    def statuses(self) -> dict[str, int]:
        """Requests by the HTTP status they were answered with; those without an answer are not in it."""
        counted = pc.value_counts(self.requests["status"].drop_null())
        return {str(row["values"]): row["counts"] for row in sorted(counted.to_pylist(), key=lambda row: row["values"])}

    @property
    def connections_to_server(self) -> int | None:
        """What a load balancer opened to the server, by the kernel: all connections of the namespace but the clients'.

        A client's counts when its SYN is sent (ActiveOpens, net/ipv4/tcp_output.c). None without a load balancer, and
        without a private namespace, where those of all other programs of this host count too.
        """
        kernel = self.run.manifest["kernel"]
        opened = kernel.get("counters", {}).get("ActiveOpens")
        if opened is None or "front" not in self.run.manifest or not kernel["isolated"]:
            return None
        return int(opened) - self.connections_made

    @property
    def failed_checks(self) -> list[Check]:
        return [check for check in self.checks if check.status == "fail"]

    def latency_ms(self) -> dict[str, Any]:
        quantiles = {name: _round(self.latencies.quantile(q)) for name, q in stats.QUANTILES.items()}
        answered = self.latencies.answered_only()
        largest = _round(answered.quantile(1.0)) if len(answered.answered_ms) else None
        return {
            **quantiles,
            "max": largest if self.latencies.unanswered == 0 else None,
            "unanswered": self.latencies.unanswered,
            "answered_only": {
                **{name: _round(answered.quantile(q)) for name, q in stats.QUANTILES.items()},
                "max": largest,
            },
        }

    @property
    def notes(self) -> list[str]:
        """What is to be said before anything of it: a newer version has recorded what this one knows nothing of."""
        unknown = ", ".join(self.run.unknown_fields)
        return [f"run {self.run.run_id} has what this version knows nothing of: {unknown}"] if unknown else []

    def to_json(self) -> dict[str, Any]:
        """RUN as docs/reference.md defines it."""
        manifest = self.run.manifest
        generator = {"engine": self.run.engine, **asdict(self.generator)}
        return {
            "run_id": self.run.run_id,
            "path": str(self.run.path.absolute()),
            "status": manifest["status"],
            "error": manifest.get("error"),
            "begun": manifest["begun"],
            "plan_hash": manifest["plan_hash"],
            "host_id": manifest["host"]["host_id"],
            "server": {
                **{key: value for key, value in manifest["server"].items() if key not in NOT_TOLD},
                "accept_evidence": self.accept_evidence,
            },
            "front": self._front(),
            "syn_evidence": self.syn_evidence,
            "load": {**asdict(self.load), "target_address": manifest["target_address"]},
            "faults": manifest["plan"]["faults"],
            "planned": self.load.planned,
            "issued": self.load.planned - self.requests["issued_us"].null_count,
            "protocol": asdict(self.protocol),
            "attempts": self.attempts,
            "connections": self.connections_made,
            "requests_at_once": self.requests_at_once,
            "outcomes": self.outcomes,
            "statuses": self.statuses,
            "causes": cause.counts(self.causes),
            "success_rate": self.success_rate,
            "first_try": self.first_try,
            "latency_ms": self.latency_ms(),
            "throughput_per_s": _round(self.throughput_per_s),
            "wall_s": _round(self.wall_s),
            "peak_in_flight": self.peak_in_flight,
            "kernel": manifest["kernel"],
            "generator": generator,
            "cpu": manifest["cpu"],
            "checks": [asdict(check) for check in self.checks],
        }

    def _front(self) -> dict[str, Any] | None:
        """The load balancer with its own counters, and what the kernel says of its connections to the server."""
        front = self.run.manifest.get("front")
        return None if front is None else {**front, "connections_to_server": self.connections_to_server}


def numbers(table: pa.Table, name: str) -> NDArray[np.int64]:
    """A column without nulls as int64."""
    values: NDArray[np.int64] = table[name].to_numpy()
    return values


def _round(value: float | None) -> float | None:
    """Microsecond resolution is all there is."""
    return None if value is None else round(value, 3)
