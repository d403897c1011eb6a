"""Storms through a load balancer: it was used, each hop has its own evidence, and nothing of it is left."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness import cli
from harness.events import store
from harness.machine import children
from harness.servers.front import running
from harness.trial import doctor
from tests.calling import Result, partial_manifest, processes_naming, start

Call = Callable[..., Result]
FRONTS = sorted(running.PROGRAMS)


@pytest.fixture(params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    """Each load balancer that is installed."""
    why_not = running.missing_program(request.param)
    if why_not is not None:
        pytest.skip(f"{why_not.reason}; {why_not.next_step}")
    return str(request.param)


def requests_of(run: dict[str, object]) -> int:
    """What the balancer says it had."""
    counted = run["front"]["counters"]  # type: ignore[index]
    return int(counted["frontend.req_tot" if "frontend.req_tot" in counted else "requests"])


def test_the_storm_meets_the_front_and_each_hop_has_its_own_evidence(stormlab: Call, front: str) -> None:
    words = ("--front", front, "--front-backlog", "77", "--backlog", "33")
    result = stormlab("run", "--clients", "200", "--concurrency", "20", *words)
    assert result.code == 0, result.stderr
    run = result.run
    assert run["outcomes"]["answered"] == 200
    assert run["statuses"] == {"200": 200}
    about = run["front"]
    assert about["name"] == front
    assert re.match(r"\d+\.\d+", about["version"])
    assert requests_of(run) == 200
    assert (about["backlog_effective"], about["listeners"]) == (77, 1)
    assert run["server"]["backlog_effective"] == 33
    assert about["port"] != about["server_port"]
    assert about["storm_cpu_s"] > 0
    assert about["peak_rss_bytes"] > 0
    folder = Path(run["path"])
    backlogs = [
        pc.unique(pq.read_table(folder / name)["backlog"]).to_pylist()
        for name in ("samples.parquet", "server-samples.parquet")
    ]
    assert backlogs == [[77], [33]]
    assert run["server"]["accept_evidence"] == "bounded", "the server's stamps are of another connection"
    assert "fail" not in {check["status"] for check in run["checks"]}
    assert re.search(r":\d+", (folder / "front.conf").read_text())
    assert not (folder / store.FRONT_FOLDER).exists()
    assert not processes_naming(str(folder))


def test_kept_connections_to_the_server_are_fewer(stormlab: Call, front: str) -> None:
    """By the kernel's count of connections, and by HAProxy's own where it has one."""
    load = ("--clients", "200", "--concurrency", "5", "--front", front, "--front-workers", "1")
    own, kept = (stormlab("run", *load, *words).run["front"] for words in ((), ("--front-reuse",)))
    assert own["connections_to_server"] == 200
    assert kept["connections_to_server"] <= 20
    for about in (own, kept):
        by_kernel = about["connections_to_server"]
        assert about["counters"].get("backend.connect", by_kernel) == by_kernel


@pytest.mark.parametrize("status", [429, 503])
def test_beyond_the_rate_clients_are_told_so(stormlab: Call, front: str, status: int) -> None:
    words = ("--front", front, "--front-rate", "50", "--front-rate-status", str(status))
    run = stormlab("run", "--clients", "300", "--concurrency", "50", *words).run
    assert set(run["statuses"]) == {"200", str(status)}
    assert run["outcomes"]["answered"] == run["statuses"]["200"] < 300
    assert run["outcomes"]["bad_answer"] == run["statuses"][str(status)]
    assert run["front"]["connections_to_server"] == run["statuses"]["200"], "the server is spared the rest"
    denied = run["front"]["counters"].get("frontend.dreq")
    assert denied in (None, run["statuses"][str(status)])


def test_beyond_the_servers_share_haproxy_queues_and_nginx_turns_away(stormlab: Call, front: str) -> None:
    slow = ("--clients", "100", "--work-us", "2000", "--workers", "1", "--front", front, "--front-server-maxconn", "2")
    run = stormlab("run", *slow).run
    if front == "haproxy":
        assert run["statuses"] == {"200": 100}
        assert run["front"]["counters"]["backend.qmax"] > 2
        impatient = stormlab("run", *slow, "--front-queue-s", "0.02").run
        assert set(impatient["statuses"]) == {"200", "503"}
    else:
        assert set(run["statuses"]) == {"200", "502"}


def test_a_front_that_ends_in_the_storm_is_a_failed_run(stormlab: Call, front: str, tmp_path: Path) -> None:
    process = start(tmp_path, "--clients", "200", "--rate", "50", "--front", front)
    pid = partial_manifest(tmp_path)["front"]["pid"]  # type: ignore[index]
    os.killpg(pid, signal.SIGKILL)  # without its master alone, nginx's workers go on
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    (run,) = json.loads(output)["runs"]
    assert run["error"]["message"].startswith(f"{front} ended during the storm: killed by SIGKILL")
    assert run["outcomes"]["refused"] > 0


def test_what_is_not_installed_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(running, "program_path", lambda name: None)
    assert cli.main(["run", "--front", "nginx", "--clients", "1", "--data", str(tmp_path / "runs")]) == 3
    assert "install Debian's package nginx" in capsys.readouterr().err
    (finding,) = [one for one in doctor.examine(tmp_path) if one.name == "front_nginx"]
    assert finding.status == "fail"
    assert "Debian's package nginx" in finding.next_step


def test_nothing_of_a_front_outlives_a_killed_supervisor(front: str, tmp_path: Path) -> None:
    """The kernel ends its children, not theirs: nginx's workers are of another process."""
    process = start(tmp_path, "--clients", "1000", "--rate", "10", "--front", front)
    manifest = partial_manifest(tmp_path)
    group = manifest["front"]["pid"]  # type: ignore[index]
    assert children.members(group)
    os.kill(manifest["supervisor_pid"], signal.SIGKILL)  # type: ignore[arg-type]
    output, _ = process.communicate(timeout=60)
    deadline = time.monotonic() + 5
    while children.members(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children.members(group)
    (run,) = json.loads(output)["runs"]
    assert run["status"] == "failed"
    assert not (Path(run["path"]) / store.FRONT_FOLDER).exists()
