"""Bad input gets a clear error; nothing recorded is lost; nothing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from harness.plan import trial_from_options
from harness.trial.caller import run_trial
from tests.calling import Result, at_length, called, partial_manifest, processes_naming, start, stormlab_json

Call = Callable[..., Result]


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--server", "nope"),
        ("run", "--bogus", "1"),
        ("run", "--clients", "0"),
        ("run", "--clients", "-3"),
        ("run", "--clients", "many"),
        ("run", "--clients", "99999999"),
        ("run", "--backlog", "-1"),
        ("run", "--backlog", "2147483648"),
        ("run", "--backlog", "lots"),
        ("run", "--command", "server without a port"),
        ("run", "--command", "server {port}", "--server", "go"),
        ("run", "--plan", "nowhere.toml"),
        ("run", "--plan", "plans/01-stack-comparison.toml", "--clients", "5"),
        ("run", "--repeats", "0"),
        ("run", "--sysctl", "nonsense"),
        ("run", "--client-cpus", "x"),
        ("show", "no-such-run"),
        ("frobnicate",),
    ],
    ids=" ".join,
)
def test_bad_arguments_exit_2_in_one_line(stormlab: Call, words: tuple[str, ...], tmp_path: Path) -> None:
    result = stormlab(*words)
    assert result.code == 2
    assert set(result.document["error"]) == {"code", "message", "next_step"}
    assert result.document["error"]["code"] == 2
    code, output, said = called(*words)
    assert (code, output) == (2, "")
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "runs").exists(), "nothing was made"


def test_a_process_of_its_own_says_the_same() -> None:
    plain = subprocess.run([sys.executable, "-m", "harness", "run", "--clients", "0"], capture_output=True, text=True)
    assert (plain.returncode, plain.stdout) == (2, "")
    assert len(plain.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("--client-cpus", "4095"),
        ("--nofile", "999999999"),
        ("--sysctl", "net.core.netdev_max_backlog=5"),
        ("--sysctl", "net.ipv4.no_such_setting=5"),
        ("--target-host", "::1", "--clients", "60000"),
    ],
    ids=" ".join,
)
def test_what_this_machine_cannot_do_exits_3_and_leaves_nothing(
    stormlab: Call, words: tuple[str, ...], tmp_path: Path
) -> None:
    result = stormlab("run", "--clients", "10", *words)
    assert result.code == 3
    assert result.document["error"]["next_step"]
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_folder_that_cannot_be_written_exits_3() -> None:
    result = stormlab_json(Path("/proc/nowhere"), "run", "--clients", "10")
    assert result.code == 3
    assert "cannot write" in result.document["error"]["message"]


@pytest.mark.parametrize(
    "command", ["false {port}", "no-such-program {port}", "python3 -c 'raise SystemExit(\"my own words\")' {port}"]
)
def test_a_server_that_ends_at_once_exits_4_and_keeps_the_run(stormlab: Call, command: str) -> None:
    result = stormlab("run", "--command", command, "--clients", "70")
    assert result.code == 4
    run = result.run
    assert run["status"] == "failed"
    assert run["outcomes"]["not_issued"] == run["planned"] == 70
    assert len(pq.read_table(Path(run["path"]) / "connections.parquet")) == 70
    if "words" in command:
        assert "my own words" in run["error"]["message"], "its log is shown"


def test_a_server_that_is_never_ready_exits_4(stormlab: Call) -> None:
    never = stormlab("run", "--command", "python3 -c 'import time; time.sleep(100)' {port}", "--clients", "10")
    assert never.code == 4
    assert "not ready" in never.run["error"]["message"]


def alive(pid: object) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_a_server_killed_half_way_exits_4_with_every_row(tmp_path: Path) -> None:
    process = start(tmp_path, "--clients", "20000", "--rate", "5000", "--timeout", "2")
    manifest = partial_manifest(tmp_path)
    assert manifest["status"] == "running"
    time.sleep(1.5)
    server = manifest["server"]["pid"]  # type: ignore[index]
    os.kill(server, signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 4
    (run,) = json.loads(output)["runs"]
    assert run["status"] == "failed"
    assert "SIGKILL" in run["error"]["message"]
    assert sum(run["outcomes"].values()) == run["planned"] == 20_000
    assert run["outcomes"]["answered"] > 0
    assert run["outcomes"]["refused"] > 0
    rows = pq.read_table(Path(run["path"]) / "connections.parquet")
    assert len(rows) == 20_000
    assert 0 < pc.max(rows["accepted_us"]).as_py() <= run["server"]["ended_us"]
    assert not alive(server)
    assert not any(alive(pid) for pid in manifest["agent_pids"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_interrupted_in_the_storm_what_was_recorded_is_kept(tmp_path: Path, stop: signal.Signals) -> None:
    process = start(tmp_path, "--clients", "20000", "--rate", "2000")
    manifest = partial_manifest(tmp_path)
    time.sleep(1.0)
    process.send_signal(stop)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    (run,) = json.loads(output)["runs"]
    assert run["status"] == "failed"
    assert sum(run["outcomes"].values()) == 20_000
    assert run["outcomes"]["answered"] > 0
    assert run["outcomes"]["not_issued"] > 0
    assert not alive(manifest["server"]["pid"])  # type: ignore[index]
    assert not list((tmp_path / "runs").glob(".*"))


def test_a_supervisor_that_says_much_beside_is_not_held_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads along: a pipe would be full after 64 KiB, and the trial stand still."""
    monkeypatch.setenv("PYTHONVERBOSE", "1")
    run = run_trial(trial_from_options({"server": "python", "clients": 5}), tmp_path / "runs")
    assert run.manifest["status"] == "complete"
    assert sorted(path.suffix for path in run.path.iterdir()) == [".json", ".log", ".parquet", ".parquet"]


@pytest.mark.parametrize("delay_s", at_length([0.05, 0.5, 0.9, 1.6], [0.05, 0.3, 0.5, 0.7, 0.9, 1.2, 1.6]))
def test_interrupted_at_any_moment_nothing_is_left(tmp_path: Path, delay_s: float) -> None:
    process = start(tmp_path, "--clients", "3000", "--stall-ms", "1500")
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    # Where a machine is that slow it is Python's own start that is interrupted: of this program nothing has begun.
    if "Failed to import the site module" not in errors:
        assert process.returncode in (130, -signal.SIGINT), errors
        assert "Traceback" not in errors or process.returncode == -signal.SIGINT
    if output:
        document = json.loads(output)
        assert "error" in document or document["runs"][0]["status"] == "failed"
    assert not list((tmp_path / "runs").glob(".*")), "nothing half-written"
    assert not processes_naming(str(tmp_path))


def test_killed_outright_the_rows_come_in_with_the_next_call(tmp_path: Path, stormlab: Call) -> None:
    process = start(tmp_path, "--clients", "20000", "--rate", "2000")
    manifest = partial_manifest(tmp_path)
    time.sleep(1.0)
    os.kill(int(str(manifest["supervisor_pid"])), signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    (run,) = json.loads(output)["runs"]
    assert process.returncode == 3
    assert run["status"] == "failed"
    assert run["outcomes"]["answered"] > 0
    assert sum(run["outcomes"].values()) == 20_000
    deadline = time.monotonic() + 5
    while alive(manifest["server"]["pid"]) and time.monotonic() < deadline:  # type: ignore[index]
        time.sleep(0.01)
    assert not alive(manifest["server"]["pid"]), "the kernel ended it with its parent"  # type: ignore[index]


def test_without_a_private_network_the_storm_says_so_and_runs_on_loopback(stormlab: Call) -> None:
    """A user namespace that may have no network namespaces below it stands for a machine that allows none."""
    denied = (
        "import os, sys; from pathlib import Path; from harness.machine import namespace; namespace.enter(); "
        "Path('/proc/sys/user/max_net_namespaces').write_text('0'); os.execv(sys.argv[1], sys.argv[1:])"
    )
    if shutil.which("unshare") is None:
        pytest.skip("unshare (util-linux) is not installed")
    prefix = ("unshare", "--user", "--map-root-user", sys.executable, "-c", denied)
    result = stormlab("run", "--clients", "200", prefix=prefix)
    if not result.document:
        pytest.skip(f"user namespaces cannot be limited here: {result.stderr.strip().splitlines()[-1:]}")
    assert result.code == 0
    assert result.run["kernel"]["isolated"] is False
    assert "namespace" in result.run["kernel"]["not_isolated_because"]
    assert result.run["outcomes"]["answered"] == 200
    refused = stormlab("run", "--clients", "5", "--sysctl", "net.core.somaxconn=77", prefix=prefix)
    assert refused.code == 3


def test_a_full_disk_is_said_and_leaves_no_half_written_run(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        result = stormlab_json(disk / "runs", "run", "--clients", "5000")
        assert result.code == 3
        assert "no room" in result.document["error"]["message"]
        assert result.document["error"]["next_step"]
        assert list((disk / "runs").iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)


def test_without_privileges_a_user_namespace_isolates_the_storm(stormlab: Call) -> None:
    """Root without CAP_SYS_ADMIN stands for a user who is not root."""
    prefix = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin") if os.geteuid() == 0 else ()
    if prefix and shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    can = subprocess.run([*prefix, "unshare", "--user", "--map-root-user", "--net", "true"], capture_output=True)
    if can.returncode:
        pytest.skip(f"user namespaces are not allowed here: {can.stderr.decode().strip()}")
    result = stormlab("run", "--clients", "200", "--sysctl", "net.core.somaxconn=77", prefix=prefix)
    assert result.code == 0, result.document
    assert result.run["kernel"]["isolated"] is True
    assert result.run["syn_evidence"] == ("ledger" if shutil.which("nft") else "counters")
    assert result.run["server"]["backlog_effective"] == 77
    assert result.run["outcomes"]["answered"] == 200


def test_the_users_folder_is_where_servers_are_found_and_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "serve"
    server = Path("harness/servers/python/server.py").absolute()
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {server} --port "$1"\n')
    script.chmod(0o755)
    (tmp_path / "servers.toml").write_text('[mine]\ncommand = "./serve {port}"\n')
    monkeypatch.chdir(tmp_path)
    for words in (("--server", "mine"), ("--command", "./serve {port}")):
        result = stormlab_json(tmp_path / "runs", "run", "--clients", "20", *words)
        assert result.code == 0, result.document
        assert result.run["outcomes"]["answered"] == 20


def test_workers_that_a_server_leaves_behind_are_ended(stormlab: Call, tmp_path: Path) -> None:
    mark = tmp_path / "left-behind"
    server = Path("harness/servers/python/server.py").absolute()
    command = f"sh -c '(exec -a {mark} sleep 1000 &) ; exec {sys.executable} {server} --port {{port}}'"
    if not Path("/bin/bash").exists():
        pytest.skip("bash is not installed")
    result = stormlab("run", "--clients", "20", "--command", command.replace("sh -c", "bash -c"))
    assert result.code == 0, result.document
    assert not processes_naming(str(mark))


@pytest.mark.parametrize("delay_s", at_length([0.0, 0.3], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]))
def test_a_batch_that_is_interrupted_keeps_what_was_over(tmp_path: Path, delay_s: float) -> None:
    process = start(tmp_path, "--clients", "20", "--repeats", "100")
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "runs").glob("2*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(delay_s)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert {run["status"] for run in json.loads(output)["runs"]} <= {"complete", "failed"}
    assert len(list((tmp_path / "runs").glob("2*"))) >= 2
    assert not list((tmp_path / "runs").glob(".*"))
