"""The probe's file: what a sample holds, record by record, on the clock of everything else (CLOCK_MONOTONIC)."""

from __future__ import annotations

import struct

PROBE_SAMPLES, PROBE_SERVER_SAMPLES = "probe.samples", "probe-server.samples"
"""What is left in the folder of a run under way; the second of the server behind a load balancer."""
LO_RX_DROPPED = "lo_rx_dropped"
"""Packets that loopback's input queue dropped before TCP saw them; no TCP counter moves for these."""
NOT_SAMPLED = -1
QUEUE_FIELDS = ("accept_queue", "backlog", "accept_queues", "listeners", "listener_inodes")
FILES_FIELDS = ("server_files", "server_files_limit")
SERVER_FIELDS = (
    "server_threads",
    "server_threads_runnable",
    "server_threads_stopped",
    "server_cpu_us",
    "server_wait_us",
    "server_rss_bytes",
)
COUNTER_FIELDS = (
    "ListenOverflows",
    "ListenDrops",
    "TCPSynRetrans",
    "TCPTimeouts",
    "SyncookiesSent",
    "TCPReqQFullDrop",
    LO_RX_DROPPED,
)
FIELDS = ("time_ns", *QUEUE_FIELDS, *FILES_FIELDS, *SERVER_FIELDS, *COUNTER_FIELDS)
RECORD = struct.Struct(f"={len(FIELDS)}q")
