"""Storms on the embedded server: everything is recorded, and the sums are right."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.events.tables import CONNECTIONS, OUTCOMES, REQUESTS
from harness.thought.cause import CAUSES
from tests.calling import Result

Call = Callable[..., Result]

RUN_HOLDS = {
    "run_id": str,
    "path": str,
    "status": str,
    "plan_hash": str,
    "host_id": str,
    "server": dict,
    "load": dict,
    "planned": int,
    "issued": int,
    "connections": int,
    "outcomes": dict,
    "causes": dict,
    "success_rate": float,
    "latency_ms": dict,
    "throughput_per_s": float,
    "wall_s": float,
    "peak_in_flight": int,
    "kernel": dict,
    "generator": dict,
    "cpu": dict,
    "checks": list,
}


def test_a_burst_is_recorded_whole(stormlab: Call) -> None:
    result = stormlab("run", "--clients", "3000")
    assert result.code == 0, result.stderr
    run = result.run
    for key, kind in RUN_HOLDS.items():
        assert isinstance(run[key], kind), key
    assert run["status"] == "complete"
    assert run["planned"] == run["issued"] == run["connections"] == sum(run["outcomes"].values()) == 3000
    assert set(run["outcomes"]) == set(OUTCOMES)
    assert set(run["causes"]) == set(CAUSES)
    assert sum(run["causes"].values()) == 3000
    assert run["server"]["backlog_requested"] is None
    assert run["server"]["backlog_effective"] == 100, "asyncio's default"
    assert run["server"]["version"].startswith("python 3")
    assert {"ListenOverflows", "TCPSynRetrans", "lo_rx_dropped"} <= set(run["kernel"]["counters"])
    assert {check["name"] for check in run["checks"]} >= {"conservation", "time_order", "input_queue", "generator"}
    folder = Path(run["path"])
    assert sorted(path.name for path in folder.iterdir()) == [
        "causes.parquet",
        "connections.parquet",
        "manifest.json",
        "samples.parquet",
        "server.log",
    ]
    assert run["server"]["accept_evidence"] == "handed_over"
    assert not {check["name"] for check in run["checks"] if check["status"] == "fail"}
    table = pq.read_table(folder / "connections.parquet")
    assert table.column_names == [column.name for column in CONNECTIONS]
    assert pc.count_distinct(table["client"]).as_py() == 3000
    pairs = set(zip(table["local_address"].to_pylist(), table["local_port"].to_pylist(), strict=True))
    assert len(pairs) == 3000


def test_kept_connections_have_a_row_for_every_request(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "4", "--requests-per-client", "250").run
    assert run["outcomes"]["answered"] == run["planned"] == 1000
    assert run["connections"] == 4
    table = pq.read_table(Path(run["path"]) / "requests.parquet")
    assert table.column_names == [column.name for column in REQUESTS]
    assert len(table) == 1000
    assert pc.min(pc.subtract(table["last_byte_us"], table["issued_us"])).as_py() > 0


def test_accept_stamps_lie_between_connect_and_answer(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "300").run
    table = pq.read_table(Path(run["path"]) / "connections.parquet")
    assert table["accepted_us"].null_count == 0
    assert pc.all(pc.less_equal(table["issued_us"], table["accepted_us"])).as_py()
    assert pc.all(pc.less_equal(table["accepted_us"], table["first_byte_us"])).as_py()


def test_what_witnesses_can_be_left_out(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "100", "--no-stamps", "--no-probe", "--no-ledger").run
    assert run["server"]["accept_evidence"] == "none"
    assert run["syn_evidence"] == "counters"
    table = pq.read_table(Path(run["path"]) / "connections.parquet")
    assert table["accepted_us"].null_count == table["syns_arrived"].null_count == 100
    assert not (Path(run["path"]) / "samples.parquet").exists()
    statuses = {check["name"]: check["status"] for check in run["checks"]}
    assert statuses["queue_bound"] == statuses["probe_coverage"] == "unknown"


def test_a_closed_loop_keeps_to_its_concurrency(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "2000", "--concurrency", "20").run
    assert run["outcomes"]["answered"] == 2000
    assert run["peak_in_flight"] <= 20


def test_an_open_loop_schedules_every_request_and_counts_from_its_slot(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "1000", "--rate", "2000", "--processes", "2").run
    assert run["outcomes"]["answered"] == 1000
    table = pq.read_table(Path(run["path"]) / "connections.parquet").sort_by("client")
    assert table["scheduled_us"].to_pylist() == [slot * 500 for slot in range(1000)]
    assert pc.min(pc.subtract(table["issued_us"], table["scheduled_us"])).as_py() >= 0


def test_kept_connections_in_an_open_loop(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "5", "--requests-per-client", "100", "--rate", "1000").run
    assert run["outcomes"]["answered"] == 500
    table = pq.read_table(Path(run["path"]) / "requests.parquet")
    assert sorted(table["scheduled_us"].to_pylist()) == [slot * 1000 for slot in range(500)]


def test_repeats_are_runs_of_the_same_plan(stormlab: Call) -> None:
    result = stormlab("run", "--clients", "50", "--repeats", "3")
    runs = result.document["runs"]
    assert len({run["run_id"] for run in runs}) == 3
    assert len({run["plan_hash"] for run in runs}) == 1


def test_list_and_show_tell_the_same_as_run(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "50").run
    assert stormlab("list").document["runs"] == [run]
    assert stormlab("show", run["run_id"]).document == run


def test_a_kernel_setting_is_set_inside_only(stormlab: Call) -> None:
    outside = Path("/proc/sys/net/core/somaxconn").read_text()
    result = stormlab("run", "--clients", "50", "--backlog", "500", "--sysctl", "net.core.somaxconn=77")
    if result.code == 3 and "no private namespace" in result.document["error"]["message"]:
        pytest.skip(result.document["error"]["message"])
    assert result.run["server"]["backlog_effective"] == 77
    assert result.run["kernel"]["sysctls"]["net.core.somaxconn"] == "77"
    assert Path("/proc/sys/net/core/somaxconn").read_text() == outside


@pytest.mark.parametrize("target", ["::1", "localhost"])
def test_other_targets(stormlab: Call, target: str) -> None:
    run = stormlab("run", "--clients", "50", "--target-host", target).run
    assert run["outcomes"]["answered"] == 50
    assert run["load"]["target_address"] in ("::1", "127.0.0.1")


def test_ports_searched_by_the_kernel_are_recorded(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "100", "--source-ports", "kernel").run
    ports = pq.read_table(Path(run["path"]) / "connections.parquet")["local_port"]
    assert pc.count_distinct(ports).as_py() == 100
    assert run["outcomes"]["answered"] == 100


def test_a_plan_file_runs_all_its_trials(stormlab: Call, tmp_path: Path) -> None:
    plan = tmp_path / "p.toml"
    plan.write_text("[base]\nclients = 40\nserver = 'python'\n[vary]\nbacklog = [5, 'default']\n")
    result = stormlab("run", "--plan", str(plan), "--repeats", "2")
    assert result.code == 0, result.stderr
    backlogs = [run["server"]["backlog_effective"] for run in result.document["runs"]]
    assert sorted(backlogs) == [5, 5, 100, 100]


def test_a_server_of_the_users_own(stormlab: Call, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import http.server, sys\n"
        "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)"
        ".serve_forever()\n"
    )
    run = stormlab("run", "--command", f"python3 {script} {{port}}", "--clients", "200", "--concurrency", "4").run
    assert run["server"]["name"] == "command"
    assert run["server"]["backlog_effective"] == 5, "socketserver's default"
    assert run["outcomes"]["answered"] == 200


def test_what_a_run_keeps_names_no_path_of_this_machine(stormlab: Call, tmp_path: Path) -> None:
    """Runs are committed as reference data."""
    run = stormlab("run", "--clients", "10").run
    manifest = json.loads((Path(run["path"]) / "manifest.json").read_text())
    assert str(tmp_path) not in json.dumps(manifest)
    assert str(Path.cwd()) not in json.dumps(manifest)
