"""The kernel's tracepoints against the rows, and that nothing of the tracing is left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.events.store import Run
from harness.thought.summary import Summary
from harness.thought.traced import Traced, compare
from tests.calling import Result, processes_naming

Call = Callable[..., Result]
_LIST = (
    "from harness.witness.tracing.tracefs import TRACEFS, reach; "
    "reach(); print(*(path.name for path in (TRACEFS / 'instances').iterdir()))"
)
BACKLOG, CLIENTS = 16, 300


def instances() -> set[str]:
    """Of all tracefs instances of this machine, those of this lab's whose process is gone."""
    done = subprocess.run([sys.executable, "-c", _LIST], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"tracefs: {done.stderr.strip().splitlines()[-1]}")
    ours = {name for name in done.stdout.split() if name.startswith("stormlab-")}
    return {name for name in ours if not Path(f"/proc/{name.split('-')[1]}").exists()}


@pytest.fixture(autouse=True)
def _no_instance_is_left() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("tracefs needs root")
    before = instances()
    yield
    assert not instances() - before


def summary(result: Result) -> Summary:
    path = Path(result.run["path"])
    return Summary(Run(path, json.loads((path / "manifest.json").read_text())))


def test_the_rows_say_what_the_kernel_saw(stormlab: Call) -> None:
    load = ("--server", "python", "--backlog", str(BACKLOG), "--clients", str(CLIENTS), "--stall-ms", "600")
    result = stormlab("run", *load, "--timeout", "4", "--trace")
    assert result.code == 0, result.document
    seen = summary(result)
    trace = seen.run.trace()
    assert trace is not None
    witness = seen.run.manifest["trace"]
    assert (witness["lost"], witness["missed"]) == (0, 0)
    compared = compare(Traced(seen.connections, seen.causes, trace))
    assert compared["connections"] == CLIENTS
    for name in ("syn_retransmits", "total_retransmits"):
        assert compared[name]["differ"] == 0, compared[name]
    assert compared["syn_retransmits"]["by_rows"] > 0
    ghosts = compared["ghosts"]
    assert ghosts["both"] > 0
    assert ghosts["only_rows"] == 0
    assert ghosts["only_trace"] == ghosts["only_trace_until_asked"]
    if compared["accepted"] is not None:
        assert compared["accepted"]["before_entry"] == compared["accepted"]["without_child"] == 0
    events = trace.to_pandas()
    children = events[events["detail"] == "LISTEN>SYN_RECV"]
    assert (children["time_us"] < seen.run.manifest["stalled_until_us"]).sum() == BACKLOG + 1
    assert not list(seen.run.path.glob("*.pages"))


def test_two_traced_storms_at_once_do_not_see_each_other(tmp_path: Path) -> None:
    words = ("--clients", "500", "--json", "--trace")
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "harness", "run", *words, "--data", str(tmp_path / name)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    for process in both:
        output, _ = process.communicate(timeout=120)
        seen = summary(Result(process.returncode, json.loads(output), ""))
        trace = seen.run.trace()
        assert trace is not None
        opened = trace.to_pandas().query("detail == 'CLOSE>SYN_SENT'")
        assert len(opened) == 500
        assert compare(Traced(seen.connections, seen.causes, trace))["events_of_no_row"] == 0


def test_source_ports_of_the_kernels_choice_are_known_too(stormlab: Call) -> None:
    seen = summary(stormlab("run", "--clients", "200", "--source-ports", "kernel", "--trace"))
    trace = seen.run.trace()
    assert trace is not None
    compared = compare(Traced(seen.connections, seen.causes, trace))
    assert compared["established"]["both"] == compared["entered"]["children"] == 200
    assert compared["total_retransmits"]["differ"] == 0


@pytest.mark.parametrize("whose", ["caller", "supervisor"])
def test_killed_outright_the_tracing_puts_itself_away(tmp_path: Path, whose: str) -> None:
    words = ("--clients", "20000", "--rate", "2000", "--trace", "--data", str(tmp_path / "runs"))
    caller = subprocess.Popen([sys.executable, "-m", "harness", "run", *words], stderr=subprocess.DEVNULL)
    manifest = {}
    deadline = time.monotonic() + 60
    while "start_ns" not in manifest and time.monotonic() < deadline:
        time.sleep(0.02)
        for path in (tmp_path / "runs").glob(".*.partial/manifest.json"):
            manifest = json.loads(path.read_text())
    time.sleep(0.5)
    os.kill(caller.pid if whose == "caller" else manifest["supervisor_pid"], signal.SIGKILL)
    caller.wait(60)
    while processes_naming(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not processes_naming(str(tmp_path))
    if whose == "supervisor":
        (run,) = (tmp_path / "runs").glob("2*")
        assert (run / "trace.parquet").exists(), "what was traced until then is kept"


def test_an_instance_whose_process_was_killed_goes_with_the_next_trial(stormlab: Call, tmp_path: Path) -> None:
    before = instances()
    pages = tmp_path / "killed.pages"
    killed = subprocess.Popen(
        [sys.executable, "-m", "harness.witness.tracing", str(pages)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert killed.stdout is not None
    killed.stdout.readline()
    killed.kill()
    killed.wait()
    assert instances() - before
    stormlab("run", "--clients", "10", "--trace")


def test_without_the_right_to_trace_it_says_what_to_do(stormlab: Call, tmp_path: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    prefix = ("setpriv", "--bounding-set", "-sys_admin", "--inh-caps", "-sys_admin")
    result = stormlab("run", "--clients", "10", "--trace", prefix=prefix)
    assert result.code == 3
    assert "--trace" in result.document["error"]["message"]
    assert "without --trace" in result.document["error"]["next_step"] or "root" in result.document["error"]["next_step"]
    assert list((tmp_path / "runs").iterdir()) == []
