"""``python -m analysis.pages.dictionary``: the data dictionary, generated from the schemas."""

from __future__ import annotations

from collections.abc import Sequence

from harness import PROJECT
from harness.events.rows import Outcome
from harness.events.tables import CONNECTIONS, REQUESTS, SAMPLES, TRACE, Column
from harness.thought import cause
from harness.thought.runs import COLUMNS

DATA_README = PROJECT / "data" / "README.md"

OUTCOMES = {
    Outcome.answered: "a complete 2xx answer within the timeout",
    Outcome.connect_timeout: "not established when the timeout was over",
    Outcome.answer_timeout: "established, no complete answer when the timeout was over",
    Outcome.refused: "ECONNREFUSED: nobody listened",
    Outcome.reset: "the connection was reset",
    Outcome.closed_early: "the stream ended before the answer was complete",
    Outcome.bad_answer: "not HTTP, or not 2xx",
    Outcome.not_issued: "never left the client",
    Outcome.other_error: "another errno; ECANCELED where the storm was interrupted",
}

_TEXT = """\
# Data dictionary

Generated from the schemas by `python -m analysis.pages.dictionary`; a test holds it to them.

`runs/` is what is recorded on this machine (not committed); `reference/` is committed and small. A run is a folder:

| file | holds |
|---|---|
| `manifest.json` | plan and its hash, host, server and versions, kernel settings, counters, agents' reports |
| `connections.parquet` | a row for every planned connection, whatever became of it; with retries, for each attempt |
| `requests.parquet` | a row for every planned request, if a connection carries several, or a request is tried again |
| `samples.parquet` | queue and open files, server, counters: every 1 ms (5 ms on fewer than 4 CPUs), 20 ms and 50 ms |
| `server-samples.parquet` | with `--front`: the server behind the load balancer, of which `samples.parquet` then is |
| `front.conf`, `front.log` | with `--front`: the load balancer's configuration, and what it wrote |
| `trace.parquet` | with `--trace`: what the kernel's tracepoints said of each connection |
| `server.log` | what the server wrote |
| `causes.parquet` | derived: cause and phases of every connection; can be deleted, and is then made again |

While a storm runs, its folder is `runs/.<run_id>.partial/`; it gets its name when it is over. A failed run is kept with
`status` "failed" and its `error`. Times are microseconds from the start of the run, whose CLOCK_MONOTONIC nanoseconds
are `start_ns` in the manifest. A null means that it did not happen.

## Outcomes

What the client saw. Every planned request ends in exactly one; their sum is the plan.

{outcomes}

## connections.parquet

{connections}

## requests.parquet

{requests}

## causes.parquet

A connection has one cause, by the first of these rules that matches. Its phases are durations and sum to its life, from
its pacing slot, or its issue where it has none, until its end; a connection without an end has none. The table's
metadata hold the version of the rules.

{reasons}

{causes}

## samples.parquet

Of the listening socket that the storm met, and the process it belongs to: with `--front` the load balancer's, and
`server-samples.parquet` has the server's, in the same columns.

{samples}

## trace.parquet

Only of runs with `--trace`; a second witness, which explains nothing and is there to test the others. From the run's
start until the agents had ended. Which event tells what stands in `harness/tracing/tracepoints.py`. `trace` in the
manifest says what is not in it: events `lost` because the kernel's buffers were full, and `unclaimed_drops`, packets
dropped on this host that were no retransmissions of this run's connections and may be another run's.

{trace}

## reference/runs.parquet

One row a run, which is what the notebooks stand on. Made from recorded runs by `python -m analysis.reference [DIR]`;
where they come from and what they cannot show says the [data card](reference/README.md).

{runs}

## reference/attacks.jsonl, runs/attacks/

Storms that other generators drove ([`foreign/`](../harness/trial/foreign)): a line each, here a file each, of JSON.
They have no rows, as no such tool gives its connections away. `plan` is what was asked for; `tool` its name, its
version as its program has it, and the command as one types it. `said` are the tool's words: `output`, shortened;
`requests` and `answered`; `errors` by message and, sorted by what they say, by `kinds`; latency over all requests and
answers in each 100 ms where it gives each request away, else null. `observed` was seen from outside: where the server
listened, its `backlog`, the `deepest_queue` in so many `looks`, `syns` that left for the server by address family
(null without nftables), the namespace's `counters`, and how server and tool ended.
"""


def data_dictionary() -> str:
    """The text of ``data/README.md``."""
    outcomes = "\n".join(f"- `{outcome.name}`: {meaning}" for outcome, meaning in OUTCOMES.items())
    return _TEXT.format(
        outcomes=outcomes,
        connections=_table(CONNECTIONS),
        requests=_table(REQUESTS),
        reasons="\n".join(f"- `{name}`: {meaning}" for name, meaning in cause.MEANINGS.items()),
        causes=_table(cause.COLUMNS),
        samples=_table(SAMPLES),
        trace=_table(TRACE),
        runs=_table(COLUMNS),
    )


def _table(columns: Sequence[Column]) -> str:
    head = "| column | type | unit | meaning |\n|---|---|---|---|\n"
    return head + "\n".join(f"| `{c.name}` | {c.type} | {c.unit} | {c.description} |" for c in columns)


if __name__ == "__main__":
    DATA_README.write_text(data_dictionary())
