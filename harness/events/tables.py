"""The tables of a run: the name, type, unit and meaning of each of their columns.

This is the recorded truth; the data dictionary (``data/README.md``) is generated from here. Times are microseconds from
the run's start, null where it did not happen.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from harness.events.rows import Outcome
from harness.events.samples import COUNTER_FIELDS

SCHEMA_VERSION = 1
OUTCOMES = tuple(outcome.name for outcome in Outcome)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its Arrow type, its unit, and what it means."""

    name: str
    type: pa.DataType
    unit: str
    description: str


def _columns(table: str) -> tuple[Column, ...]:
    """A line for each column: name, type, unit (``-`` for none), meaning; a line that is indented goes on with it.

    ``words`` is a dictionary of strings with int8 indices, ``words:int16`` one with int16.
    """
    found = []
    for line in re.sub(r"\n +", " ", table.strip()).splitlines():
        name, kind, unit, description = re.split(r"  +", line, maxsplit=3)
        words, _, width = kind.partition(":")
        type_ = pa.dictionary(getattr(pa, width or "int8")(), pa.string()) if words == "words" else getattr(pa, kind)()
        found.append(Column(name, type_, unit.strip("-"), description))
    return tuple(found)


CONNECTIONS = _columns(f"""
connection         int32   -        number of the connection within the run, from 0
client             int32   -        the client that made it, from 0; of a pool, the place in it
attempt            int32   -        1 for the client's first connection, 2 for the one after it, …; 0 where the client
                                    never tried
agent              int32   -        the agent (generator process) that drove it
local_address      words   -        the client's source address; null where it never got one
local_port         uint16  -        the client's source port; null where it never got one
scheduled_us       int64   µs       the pacing slot of its first request; null in bursts, closed loops and pools, and
                                    of later attempts
issued_us          int64   µs       just before connect(); null where no SYN left the client
synack_us          int64   µs       when the SYN-ACK had come, by the kernel's clock; null where the client saw it
                                    within two ticks of connect()
established_us     int64   µs       when the client saw the connection established, and sent its request
resent_us          int64   µs       when its first request was sent for the last time, by the kernel's clock; null
                                    where once was enough
accepted_us        int64   µs       when the server got it, by its own stamp; null where it did not say
first_byte_us      int64   µs       when the client read the first byte of an answer
arrived_us         int64   µs       when the end of its answer had come, or what was never read, by the kernel's
                                    clock; null if read within two ticks
closed_us          int64   µs       when its last answer was complete, it failed, or the client gave it up
syn_retransmits    uint16  packets  SYNs sent again until it was established; null where it never was
total_retransmits  uint16  packets  all segments sent again by the client, SYNs included, at the end
unacked            uint16  packets  segments sent and not acknowledged, at the end
syns_left          uint16  packets  SYNs that left the client's IP layer; null without the ledger
syns_arrived       uint16  packets  of these, SYNs that reached TCP; null without the ledger
synacks_sent       uint16  packets  SYN-ACKs sent to it; null without the ledger
requests_arrived   uint16  packets  segments with a request that reached TCP, copies included; null without the
                                    ledger, and where a connection carries several requests
connect_us         int32   µs       how long bind() and connect() took, or only connect() where source ports are
                                    searched; also where it failed
bytes_received     int64   bytes    bytes of all its answers, headers included
status             int16   -        HTTP status of its last answer; null where there was none
errno              int16   -        errno of the failure; null where no system call failed
outcome            words   -        what the client saw: {" · ".join(OUTCOMES)}
""")
REQUESTS = _columns("""
request        int32  -   number of the request within the run, from 0
connection     int32  -   the connection that carried it; null where it never left the client
client         int32  -   the client that made it
sequence       int32  -   which of the client's requests it is, from 0
attempts       int16  -   how often it was tried; what follows is of its last attempt, but for issued_us
scheduled_us   int64  µs  when it was wanted: its pacing slot, or with a pool the start; null in other bursts and in
                          closed loops
issued_us      int64  µs  just before connect() for the first on a connection, else just before it was sent; of its
                          first attempt
accepted_us    int64  µs  when the server got its connection, by its own stamp
first_byte_us  int64  µs  when the client read the first byte of its answer
last_byte_us   int64  µs  when its answer was complete; null unless it was answered
status         int16  -   HTTP status of the answer; null where there was none
errno          int16  -   errno of the failure; null where no system call failed
outcome        words  -   what the client saw; the same words as for connections
""")
SAMPLES = _columns("""
time_us                  int64  µs           when the sample was taken
accept_queue             int32  connections  complete connections waiting to be accepted; null where nobody listened
backlog                  int32  connections  the listening socket's backlog
accept_queues            int32  connections  the same of all sockets that the storm can meet; where there are several,
                                             accept_queue is of the deepest
listeners                int32  sockets      how many these are
listener_inodes          int64  -            the sum of their inodes: another number, other sockets
server_files             int32  files        open files of the server's fullest process
server_files_limit       int32  files        the soft limit of that process
server_threads           int32  threads      threads of the server
server_threads_runnable  int32  threads      of these, running or waiting for a CPU
server_threads_stopped   int32  threads      of these, stopped by a signal or a debugger
server_cpu_us            int64  µs           CPU time of the server since it began, user and system
server_wait_us           int64  µs           time its threads were ready to run and waited for a CPU, since then
server_rss_bytes         int64  bytes        resident memory of the server
""") + tuple(
    Column(name, pa.int64(), "packets", "of the namespace, since it was made; by the kernel's name")
    for name in COUNTER_FIELDS
)
TRACE = _columns("""
time_us         int64        µs  when it happened, by the tracing's clock, which is CLOCK_MONOTONIC
event           words        -   the kernel's tracepoint: inet_sock_set_state · tcp_retransmit_skb ·
                                 tcp_retransmit_synack · tcp_send_reset · kfree_skb
client_address  words:int32  -   of the connection's client, also where the server acted; null where it is the
                                 listener's or not known whose
client_port     uint16       -   in the same way
side            words        -   who acted: client · server
detail          words:int16  -   states as in SYN_SENT>ESTABLISHED; state in which it was sent again; reason of a
                                 reset or a drop, with the state of the sender where that is known; empty where there
                                 is no more to say
""")


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema, unit and description in each field's metadata."""
    return pa.schema(
        [
            pa.field(column.name, column.type, metadata={"unit": column.unit, "description": column.description})
            for column in columns
        ],
        metadata={"schema_version": str(SCHEMA_VERSION)},
    )
