"""From what agents leave to tables: one row for every planned request, whatever the agents came to."""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from harness.events.assembling import assemble, samples_table
from harness.events.rows import Outcome, Rows
from harness.events.samples import FIELDS, NOT_SAMPLED, RECORD
from harness.events.store import write_table
from harness.events.tables import CONNECTIONS, REQUESTS, SAMPLES, schema
from harness.plan import Load
from harness.plan.slices import Slice, cut, source_pool

START_NS = 1_000_000_000_000


def rows_of(load: Load, agents: int, folder: Path) -> tuple[list[Slice], list[Rows]]:
    source = source_pool("127.0.0.1", load, [])
    slices = cut(load, agents, target="127.0.0.1", port=80, source=source, cpus=(0,), folder=str(folder))
    return slices, [Rows(Path(s.rows_path), s.connection_rows, s.request_rows, create=True) for s in slices]


def test_agents_that_did_nothing_leave_every_row_not_issued(tmp_path: Path) -> None:
    slices, rows = rows_of(Load(clients=10), 3, tmp_path)
    table = assemble(slices, rows, START_NS).connections
    assert table["outcome"].to_pylist() == ["not_issued"] * 10
    assert sorted(table["client"].to_pylist()) == list(range(10))
    assert table["connection"].to_pylist() == list(range(10))
    assert (
        table["issued_us"].null_count == table["local_port"].null_count == table["total_retransmits"].null_count == 10
    )


def test_values_arrive_with_their_units(tmp_path: Path) -> None:
    slices, (rows,) = rows_of(Load(clients=2), 1, tmp_path)
    written = {
        "attempt": 1,
        "local_port": 40_000,
        "issued_ns": START_NS + 5_000,
        "synack_ns": START_NS + 1_000_006_000,
        "established_ns": START_NS + 1_000_007_999,
        "resent_ns": START_NS + 1_000_007_000,
        "accepted_ns": START_NS + 1_000_008_000,
        "first_byte_ns": START_NS + 1_000_010_000,
        "arrived_ns": START_NS + 1_000_009_000,
        "closed_ns": START_NS + 1_000_011_000,
        "connect_us": 14,
        "syn_retransmits": 1,
        "total_retransmits": 2,
        "status": 200,
        "bytes_received": 99,
        "outcome": Outcome.answered,
    }
    for name, value in written.items():
        rows.connection[name][1] = value
    (row,) = assemble(slices, [rows], START_NS).connections.slice(1).to_pylist()
    assert row == {
        "connection": 1,
        "client": 1,
        "attempt": 1,
        "agent": 0,
        "local_address": "127.1.0.1",
        "local_port": 40_000,
        "scheduled_us": None,
        "issued_us": 5,
        "synack_us": 1_000_006,
        "established_us": 1_000_007,
        "resent_us": 1_000_007,
        "accepted_us": 1_000_008,
        "first_byte_us": 1_000_010,
        "arrived_us": 1_000_009,
        "closed_us": 1_000_011,
        "connect_us": 14,
        "syn_retransmits": 1,
        "total_retransmits": 2,
        "unacked": 0,
        "syns_left": None,
        "syns_arrived": None,
        "synacks_sent": None,
        "requests_arrived": None,
        "bytes_received": 99,
        "status": 200,
        "errno": None,
        "outcome": "answered",
    }


def test_the_ledger_is_in_the_table_where_there_was_one(tmp_path: Path) -> None:
    slices, (rows,) = rows_of(Load(clients=2), 1, tmp_path)
    rows.connection["issued_ns"][0] = START_NS
    rows.connection["syns_left"][0] = 3
    rows.connection["syns_arrived"][0] = 2
    rows.header["ledger"][0] = 1
    table = assemble(slices, [rows], START_NS).connections
    assert table["syns_left"].to_pylist() == [3, None]
    assert table["syns_arrived"].to_pylist() == [2, None]
    assert table["synacks_sent"].to_pylist() == [0, None]


def test_samples_keep_what_was_not_sampled_null(tmp_path: Path) -> None:
    path = tmp_path / "probe.samples"
    values = {"time_ns": START_NS + 5_000, "accept_queue": 7, "backlog": 128}
    record = RECORD.pack(*(values.get(name, NOT_SAMPLED) for name in FIELDS))
    path.write_bytes(record + record[:20])
    table = samples_table(path, START_NS)
    assert table.schema.equals(schema(SAMPLES))
    (row,) = table.to_pylist()
    assert {name: value for name, value in row.items() if value is not None} == {
        "time_us": 5,
        "accept_queue": 7,
        "backlog": 128,
    }


def test_what_was_under_way_when_its_agent_died_is_other_error(tmp_path: Path) -> None:
    slices, (rows,) = rows_of(Load(clients=3), 1, tmp_path)
    rows.connection["issued_ns"][0] = START_NS + 1
    table = assemble(slices, [rows], START_NS).connections
    assert table["outcome"].to_pylist() == ["other_error", "not_issued", "not_issued"]
    assert table["closed_us"].to_pylist() == [None] * 3


def test_every_planned_request_has_its_row(tmp_path: Path) -> None:
    slices, (first, second) = rows_of(Load(clients=3, requests_per_client=4), 2, tmp_path)
    second.header["connections"][0] = 1
    second.request["issued_ns"][0] = START_NS + 1_000
    second.request["last_byte_ns"][0] = START_NS + 2_000
    second.request["outcome"][0] = Outcome.answered
    second.request["errno"][1] = errno.EMFILE
    tables = assemble(slices, [first, second], START_NS)
    assert tables.requests is not None
    assert len(tables.connections) == 1
    found = tables.requests.to_pylist()
    assert [(row["client"], row["sequence"]) for row in found] == [
        *((0, k) for k in range(4)),
        *((2, k) for k in range(4)),
        *((1, k) for k in range(4)),
    ]
    assert found[8]["connection"] == 0
    assert found[8]["last_byte_us"] == 2
    assert (found[9]["connection"], found[9]["errno"], found[9]["outcome"]) == (None, errno.EMFILE, "not_issued")


def test_tables_have_the_documented_schema_also_after_parquet(tmp_path: Path) -> None:
    slices, rows = rows_of(Load(clients=4, requests_per_client=2), 1, tmp_path)
    tables = assemble(slices, rows, START_NS)
    for name, table, columns in (("c", tables.connections, CONNECTIONS), ("r", tables.requests, REQUESTS)):
        assert table is not None
        assert table.schema.equals(schema(columns))
        write_table(table, tmp_path / name)
        again = pq.read_table(tmp_path / name)
        assert again.cast(table.schema).equals(table)
        assert again.schema.field("issued_us").metadata[b"unit"] == "µs".encode()


def test_every_column_says_what_it_is() -> None:
    for column in (*CONNECTIONS, *REQUESTS, *SAMPLES):
        assert column.description
        assert (column.unit == "µs") == column.name.endswith("_us")
        assert isinstance(column.type, pa.DataType)
