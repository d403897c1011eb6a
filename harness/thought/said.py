"""What other generators say of their requests, read from their own words: pure functions of text.

A tool knows its requests, not its packets: what it says of a failure is an error of its library. These are sorted into
a few words by :func:`kind`; where a tool leaves open what happened, so does the word.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.thought import stats

OUTPUT_LINES, LINE_LENGTH = 60, 200
"""How much of a tool's own output is kept."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool says that became of its requests."""

    requests: int
    answered: int
    """With a status of 2xx."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Message, without source ports → requests."""
    seconds: float | None = None
    latencies_ms: tuple[float, ...] | None = None
    """Of the answered, where the tool gives every one away."""
    ends_s: tuple[float, ...] | None = None
    """When each was answered, from the first request on, in the same way."""


def kind(message: str) -> str:
    """The cause, in the lab's words as far as they fit; ``timed_out`` where the tool does not say in which phase."""
    return next((word for word, pattern in _KINDS if pattern.search(message)), "other_error")


_KINDS = tuple(
    (word, re.compile(pattern, re.IGNORECASE))
    for word, pattern in (
        ("refused on [::1]", r"\[::1\]\S*:? .*connection refused"),
        ("refused", r"connection refused"),
        ("client_out_of_files", r"too many open files"),
        ("client_out_of_ports", r"cannot assign requested address|address not available"),
        ("reset", r"connection reset|broken pipe"),
        ("timed_out", r"timeout|timed out|deadline"),
        ("closed_early", r"\bEOF\b|connection closed|incomplete message|server closed"),
        ("bad_answer", r"^(status )?\d{3}\b"),
    )
)


def kinds(errors: Mapping[str, int]) -> dict[str, int]:
    """Requests by :func:`kind`, the frequent ones first."""
    counted: Counter[str] = Counter()
    for message, requests in errors.items():
        counted[kind(message)] += requests
    return dict(counted.most_common())


def without_ports(message: str) -> str:
    """Messages that differ in the client's port are one."""
    return re.sub(r"(?<=[\d\]]):\d+(->)", r"\1", message)


def without_colours(output: str) -> str:
    """oha writes them also where nobody can see them."""
    return re.sub(r"\x1b\[[0-9;]*m", "", output)


def vegeta(results: str) -> Said:
    """From ``vegeta encode -to=csv``: timestamp, status, latency, bytes out and in, error, … of each request."""
    errors: Counter[str] = Counter()
    starts, ends, latencies, requests = [], [], [], 0
    csv.field_size_limit(1 << 24)
    for row in csv.reader(io.StringIO(results)):
        requests += 1
        begun_ns, status, latency_ns = int(row[0]), int(row[1]), int(row[2])
        starts.append(begun_ns)
        if 200 <= status < 300 and not row[5]:
            ends.append(begun_ns + latency_ns)
            latencies.append(latency_ns / 1e6)
        else:
            errors[without_ports(row[5].strip() or f"status {status}")] += 1
    first = min(starts, default=0)
    ended = max(ends, default=first)
    return Said(
        requests,
        len(ends),
        dict(errors.most_common()),
        (ended - first) / 1e9,
        tuple(latencies),
        tuple((end - first) / 1e9 for end in ends),
    )


def hey(output: str) -> Said:
    """From the summary that hey and oha print in the end."""
    statuses = [(int(status), int(count)) for status, count in re.findall(r"\[(\d{3})\]\s+(\d+) responses", output)]
    errors: Counter[str] = Counter()
    distribution = output.partition("Error distribution:")[2]
    for count, message in re.findall(r"^\s*\[(\d+)\]\s+(.+)$", distribution, re.MULTILINE):
        errors[without_ports(message.strip())] += int(count)
    answered = sum(count for status, count in statuses if 200 <= status < 300)
    for status, count in statuses:
        if not 200 <= status < 300:
            errors[f"status {status}"] += count
    total = re.search(r"Total:\s+([\d.]+) (m?)s", output)
    seconds = None if total is None else float(total[1]) / (1000 if total[2] else 1)
    return Said(answered + sum(errors.values()), answered, dict(errors.most_common()), seconds)


READERS: Mapping[str, Callable[[str], Said]] = {"vegeta": vegeta, "hey": hey, "oha": hey}
"""By the word that a tool ``speaks``: from vegeta's encoded results, from the others' own output."""


def shortened(output: str) -> str:
    """A tool's own output as it is kept: long distributions cut, with a line that says so."""
    lines = list(dict.fromkeys(without_ports(line.rstrip())[:LINE_LENGTH] for line in output.splitlines()))
    if len(lines) > OUTPUT_LINES:
        lines = [*lines[:OUTPUT_LINES], f"… and {len(lines) - OUTPUT_LINES:,} lines more"]
    return "\n".join(lines).strip()


def read(speaks: str, results: str, output: str) -> dict[str, Any] | None:
    """What is kept of a tool's ``results`` and of its own ``output``; None where it speaks of no request."""
    heard = READERS[speaks](without_colours(results))
    return {"output": shortened(without_colours(output)), **_counts(heard)} if heard.requests else None


def _counts(heard: Said) -> dict[str, Any]:
    """Of a tool that gives every request away, also latency over all of them and answers in each 100 ms."""
    latency: dict[str, float | None] = {"p50_ms": None, "p99_ms": None}
    steps: Any = None
    if heard.latencies_ms is not None:
        all_of_them = stats.Latencies(np.sort(np.array(heard.latencies_ms)), heard.requests - heard.answered)
        latency = {"p50_ms": all_of_them.quantile(0.5), "p99_ms": all_of_them.quantile(0.99)}
        steps = stats.timeline((np.array(heard.ends_s) * 1e6).astype(np.int64))
        steps = np.trim_zeros(steps, "b").tolist()
    return {
        "requests": heard.requests,
        "answered": heard.answered,
        "errors": dict(list(heard.errors.items())[:20]),
        "kinds": kinds(heard.errors),
        "seconds": heard.seconds,
        **latency,
        "answers_per_step": steps,
    }
