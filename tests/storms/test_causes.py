"""Storms whose causes are known beforehand, because the test brings them about: what is said of them must be that."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from harness.machine import children
from harness.machine.nft import nft_path
from harness.thought.phases import PHASES
from tests.calling import Result, called, partial_manifest, processes_naming, start, stormlab_json

Call = Callable[..., Result]

UNSTAMPED = """
import asyncio, socket, struct, sys

port, backlog, after_s, mode = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
HEAD = {"stream": b"HTTP/1.1 200 OK\\r\\nConnection: close\\r\\n\\r\\n"}
HEAD = HEAD.get(mode, b"HTTP/1.1 200 OK\\r\\nContent-Length: 5\\r\\nConnection: close\\r\\n\\r\\n")


async def serve(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        if mode == "whole":
            await asyncio.sleep(after_s)
            writer.write(HEAD + b"hello")
        else:
            writer.write(HEAD + (b"hello" if mode == "stream" else b"he"))
            await writer.drain()
            await asyncio.sleep(after_s)
        if mode == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
    except (OSError, asyncio.IncompleteReadError):
        pass


async def main():
    async with await asyncio.start_server(serve, "127.0.0.1", port, backlog=backlog) as server:
        await server.serve_forever()


asyncio.run(main())
"""


def unstamped(folder: Path, *, backlog: int = 500, after_s: float = 0, mode: str = "whole") -> tuple[str, str]:
    """A server of the test's own that says nothing of its accepts. It answers ``after_s``; other modes than ``whole``
    send part of an answer at once and wait then."""
    script = folder / "unstamped.py"
    script.write_text(UNSTAMPED)
    return "--command", f"{sys.executable} {script} {{port}} {backlog} {after_s} {mode}"


def some(counts: dict[str, int]) -> dict[str, int]:
    """Those that are not zero."""
    return {name: number for name, number in counts.items() if number}


def tables(run: dict[str, Any]) -> tuple[pa.Table, pa.Table]:
    folder = Path(run["path"])
    return pq.read_table(folder / "connections.parquet"), pq.read_table(folder / "causes.parquet")


def phases_sum_to_the_lives(run: dict[str, Any]) -> None:
    connections, causes = (table.to_pandas() for table in tables(run))
    assert (causes["connection"] == connections["connection"]).all()
    life = connections["closed_us"] - connections["scheduled_us"].fillna(connections["issued_us"])
    phases = causes[list(PHASES)]
    assert (phases.dropna() >= 0).all(axis=None)
    assert ((phases.sum(axis=1, skipna=False) - life).abs().dropna() <= len(PHASES)).all(), "but for rounding"
    assert (phases.isna().any(axis=1) == life.isna()).all()


# ---- a stopped server --------------------------------------------------------------------------------------------

STALL = ("--clients", "2000", "--backlog", "128", "--stall-ms", "300", "--timeout", "4")


@pytest.fixture(scope="module")
def stalled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One stalled burst for all tests that only read it."""
    result = stormlab_json(tmp_path_factory.mktemp("stalled") / "runs", "run", "--server", "python", *STALL)
    assert result.code == 0, result.stderr
    return result.run


@pytest.fixture
def own_copy(stalled: dict[str, Any], tmp_path: Path) -> Path:
    """The stalled run's folder, to change."""
    return Path(shutil.copytree(stalled["path"], tmp_path / "runs" / stalled["run_id"]))


def test_a_stopped_server_leaves_backlog_plus_one_clean_and_the_rest_explained(stalled: dict[str, Any]) -> None:
    causes = stalled["causes"]
    assert sum(causes.values()) == stalled["planned"] == 2_000
    assert causes["clean"] == 129
    assert causes["never_accepted"] == causes["slow_answer"] == causes["client_out_of_files"] == 0
    if stalled["syn_evidence"] == "ledger":
        assert causes["unknown"] == 0
        assert causes["syn_dropped"] + causes["input_queue_dropped"] + causes["ghost"] > 1_500
    phases_sum_to_the_lives(stalled)


def test_what_the_client_saw_and_the_cause_agree(stalled: dict[str, Any]) -> None:
    connections, causes = (table.to_pandas() for table in tables(stalled))
    clean = causes["cause"] == "clean"
    assert (clean == ((connections["outcome"] == "answered") & (connections["total_retransmits"] == 0))).all()
    dropped = causes["cause"] == "syn_dropped"
    assert (causes.loc[dropped, "detail"].str.contains("accept queue full")).all()
    assert (causes.loc[dropped, "syn_wait_us"] > 900_000).all(), "a lost SYN costs a second"


def test_a_server_without_stamps_is_explained_by_the_samples(stormlab: Call, tmp_path: Path) -> None:
    run = stormlab("run", *unstamped(tmp_path, backlog=128), *STALL[:2], *STALL[4:]).run
    assert run["server"]["backlog_effective"] == 128
    assert run["server"]["accept_evidence"] == "bounded"
    assert sum(run["causes"].values()) == 2_000
    assert run["causes"]["clean"] == 129
    if run["syn_evidence"] == "ledger":
        assert run["causes"]["unknown"] == 0
    phases_sum_to_the_lives(run)


def test_stopped_for_longer_than_the_clients_wait(stormlab: Call) -> None:
    """Who got into the queue stays there, who did not is dropped: nobody was accepted, answered, or slow."""
    stall = ("--stall-ms", "4000", "--timeout", "2")
    run = stormlab("run", "--server", "python", "--clients", "2000", "--backlog", "128", *stall).run
    causes = some(run["causes"])
    assert causes.pop("never_accepted") == 129
    assert sum(causes.values()) == 2_000 - 129
    allowed = {"syn_dropped", "input_queue_dropped"} if run["syn_evidence"] == "ledger" else {"syn_dropped", "unknown"}
    assert set(causes) <= allowed
    phases_sum_to_the_lives(run)
    story = stormlab("explain", run["run_id"]).document
    longest = max(story["episodes"], key=lambda episode: episode["duration_ms"])
    assert longest["driver"] == "stalled"
    assert {episode["driver"] for episode in story["episodes"]} <= {"stalled", "unknown"}, "or too short to say"
    assert "stops the server" in " ".join(remedy["change"] for remedy in story["remedies"])
    assert any("stalled" in remedy["because"] for remedy in story["remedies"] if remedy["connections"] == 129)


# ---- other reasons not to accept ---------------------------------------------------------------------------------

FIRST = ("nice", "-n", "-15") if os.geteuid() == 0 and shutil.which("nice") else ()
"""Others on this machine take CPU time, which is a driver too, but not the one that is asked for."""


@pytest.mark.alone
def test_out_of_open_files(stormlab: Call) -> None:
    """129 wait when it comes back, more than it has files for: asyncio then sleeps for a second, and says so."""
    few = ("--nofile", "64", "--backlog", "128", "--stall-ms", "300", "--clients", "1500", "--timeout", "3")
    run = stormlab("run", "--server", "python", *few, prefix=FIRST).run
    assert sum(run["causes"].values()) == 1_500
    assert run["causes"]["clean"] <= 129
    story = stormlab("explain", run["run_id"]).document
    assert "out_of_files" in {episode["driver"] for episode in story["episodes"]}
    assert "--nofile" in " ".join(remedy["change"] for remedy in story["remedies"])


@pytest.mark.alone
def test_busy_in_its_only_thread(stormlab: Call) -> None:
    """3 ms of work between two accepts, on a CPU of its own: it runs all the time, and accepts too slowly."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("disjoint CPUs need two")
    busy = ("--work-us", "3000", "--cpu", "disjoint", "--backlog", "64", "--clients", "600", "--timeout", "2")
    run = stormlab("run", "--server", "python", *busy, prefix=FIRST).run
    assert sum(run["causes"].values()) == 600
    story = stormlab("explain", run["run_id"]).document
    found = {episode["driver"] for episode in story["episodes"]}
    if "accept_bound" not in found and "cpu_starved" in found:
        pytest.skip("others on this machine took the server's CPU")
    assert "accept_bound" in found
    phases_sum_to_the_lives(run)


# ---- slow, and half, answers -------------------------------------------------------------------------------------


def test_slow_and_in_time_is_clean_and_slow_beyond_the_deadline_is_slow_answer(stormlab: Call, tmp_path: Path) -> None:
    after_300_ms, after_3_s = unstamped(tmp_path, after_s=0.3), unstamped(tmp_path, after_s=3)
    patient = stormlab("run", *after_300_ms, "--clients", "200", "--timeout", "10").run
    assert some(patient["causes"]) == {"clean": 200}
    impatient = stormlab("run", *after_3_s, "--clients", "200", "--timeout", "0.2", "--ready", "listening").run
    assert some(impatient["outcomes"]) == {"answer_timeout": 200}
    assert some(impatient["causes"]) == {"slow_answer": 200}
    phases_sum_to_the_lives(impatient)


@pytest.mark.parametrize(
    ("mode", "outcome", "cause"),
    [
        ("stream", "answered", "clean"),
        ("part", "closed_early", "closed_early"),
        ("reset", "reset", "reset"),
        ("hang", "answer_timeout", "slow_answer"),
    ],
)
def test_the_server_is_slow_to_end_an_answer_it_has_begun(
    stormlab: Call, tmp_path: Path, mode: str, outcome: str, cause: str
) -> None:
    """The client read what there was at once: that the rest, or the end, came later or never is no lag of its own."""
    command = unstamped(tmp_path, after_s=30 if mode == "hang" else 0.4, mode=mode)
    run = stormlab("run", *command, "--clients", "30", "--timeout", "1", "--ready", "listening").run
    assert some(run["outcomes"]) == {outcome: 30}
    assert some(run["causes"]) == {cause: 30}
    phases = tables(run)[1].to_pandas()[list(PHASES)].sum()
    assert phases["generator_lag_us"] < phases.sum() / 2
    phases_sum_to_the_lives(run)


def test_nobody_listens(stormlab: Call) -> None:
    never = f"{sys.executable} -c 'import time; time.sleep(60)' {{port}}"
    run = stormlab("run", "--command", never, "--ready", "none", "--clients", "50").run
    assert some(run["causes"]) == {"refused": 50}
    _, causes = tables(run)
    assert all("127.0.0.1" in detail and "IPv4" in detail for detail in causes["detail"].to_pylist())
    assert stormlab("explain", run["run_id"]).document["remedies"]


def test_without_any_witness_a_calm_run_is_clean(stormlab: Call) -> None:
    run = stormlab("run", "--clients", "50", "--no-stamps", "--no-probe", "--no-ledger").run
    assert some(run["causes"]) == {"clean": 50}
    story = stormlab("explain", run["run_id"]).document
    assert story["evidence"] == {"accept": "none", "syn": "counters"}
    assert story["syns"] is None


# ---- what was thought can be thought again -----------------------------------------------------------------------


def test_causes_are_made_again_equal_and_explain_needs_none(
    own_copy: Path, stalled: dict[str, Any], stormlab: Call
) -> None:
    kept = own_copy / "causes.parquet"
    before = pq.read_table(kept)
    told = stormlab("explain", stalled["run_id"]).document
    for damage in (None, kept.read_bytes()[: kept.stat().st_size // 2]):
        kept.unlink()
        if damage is not None:
            kept.write_bytes(damage)
        result = stormlab("explain", stalled["run_id"])
        assert result.code == 0, result.stderr
        assert result.document == told
        assert pq.read_table(kept).equals(before, check_metadata=True)
    assert stormlab("show", stalled["run_id"]).document["causes"] == stalled["causes"]
    assert not list(own_copy.glob(".*")), "no draft is left"


def test_a_failed_check_is_told_first(own_copy: Path, stormlab: Call) -> None:
    """A row is gone: whatever follows rests on a record that is not whole."""
    table = pq.read_table(own_copy / "connections.parquet")
    pq.write_table(table.slice(1), own_copy / "connections.parquet")
    story = stormlab("explain", str(own_copy)).document
    assert story["checks"][0]["status"] == "fail"
    assert story["checks"][0]["name"] == "conservation"
    assert sum(row["connections"] for row in story["causes"]) == 1_999, "thought again for the rows there are"
    told = subprocess.run(
        [sys.executable, "-m", "harness", "explain", str(own_copy)], capture_output=True, text=True, check=True
    ).stdout
    first, second = told.splitlines()[:2]
    assert "conservation" in first
    assert "fail" in first.lower()
    assert "fail" not in second.lower()
    assert "syn_dropped" in told


def test_a_run_that_failed_is_explained_without_a_traceback(stormlab: Call) -> None:
    run = stormlab("run", "--command", "false {port}", "--clients", "20").run
    result = stormlab("explain", run["run_id"])
    assert result.code == 0, result.stderr
    assert result.document["error"]["code"] == 4
    assert [(row["cause"], row["connections"]) for row in result.document["causes"]] == [("unknown", 20)]


def test_explain_of_no_run_exits_2(stormlab: Call) -> None:
    assert stormlab("explain", "no-such-run").code == 2


# ---- settings of the host ----------------------------------------------------------------------------------------

SETTING = "net.core.netdev_max_backlog"
HOST = Path("/proc/sys") / SETTING.replace(".", "/")
BRIEF = ("--clients", "1000", "--rate", "500", "--timeout", "1")
LASTING = ("--clients", "1000", "--rate", "10")  # 100 s: a test stops it long before, however slow the machine is
WITHIN_S = 30


@pytest.fixture
def before() -> Iterator[str]:
    """What the host's setting is; whatever a test does, it is that again."""
    if os.geteuid() != 0:
        pytest.skip("only root may change the host's settings")
    value = HOST.read_text().strip()
    try:
        HOST.write_text(value)
    except OSError as error:
        pytest.skip(f"{SETTING} cannot be set here: {error.strerror}")
    try:
        yield value
    finally:
        HOST.write_text(value)


def other_than(value: str) -> str:
    return str(int(value) + 234)


def becomes(value: str) -> bool:
    """Whether the host's setting is that, soon."""
    deadline = time.monotonic() + WITHIN_S
    while HOST.read_text().strip() != value and time.monotonic() < deadline:
        time.sleep(0.01)
    return HOST.read_text().strip() == value


@pytest.mark.alone
@pytest.mark.parametrize("stop", [None, signal.SIGINT, signal.SIGKILL], ids=str)
def test_a_host_setting_lasts_as_long_as_its_run_however_that_ends(
    before: str, tmp_path: Path, stop: signal.Signals | None
) -> None:
    storm = BRIEF if stop is None else LASTING
    process = start(tmp_path, *storm, "--host-sysctl", f"{SETTING}={other_than(before)}")
    try:
        partial_manifest(tmp_path)
        assert HOST.read_text().strip() == other_than(before)
        if stop is not None:
            process.send_signal(stop)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == {None: 0, signal.SIGKILL: -signal.SIGKILL}.get(stop, 130)
    assert becomes(before)
    if stop is None:
        assert SETTING in said, "said loudly"
        assert before in said
    deadline = time.monotonic() + WITHIN_S
    while processes_naming(str(tmp_path)) and time.monotonic() < deadline:
        time.sleep(0.05)  # what a killed caller leaves ends by itself


@pytest.mark.alone
def test_only_one_run_at_a_time_may_change_the_host(before: str, tmp_path: Path) -> None:
    running = [start(tmp_path, *LASTING, "--host-sysctl", f"{SETTING}={other_than(before)}")]
    try:
        partial_manifest(tmp_path)
        running.append(start(tmp_path / "second", "--clients", "5", "--host-sysctl", f"{SETTING}=77"))
        first, second = running
        with pytest.raises(subprocess.TimeoutExpired):
            second.communicate(timeout=2)
        assert HOST.read_text().strip() == other_than(before), "the first one's is still there"
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=60)
        _, said = second.communicate(timeout=60)
        assert "another run has changed the host's settings: waiting" in said
        assert second.returncode == 0, "it waited for its turn"
    finally:
        for process in running:
            process.kill()
    assert becomes(before)


@pytest.mark.alone
@pytest.mark.parametrize(
    ("settings", "code", "says"),
    [
        (("net.core.somaxconn=77",), 2, "--sysctl"),
        (("net.core.no_such_setting=1",), 3, "no such setting"),
        ((f"{SETTING}=many",), 3, "cannot be set"),
        ((f"{SETTING}=77", "net.core.somaxconn=77"), 2, "--sysctl"),
        ((f"{SETTING}=77", "net.core.no_such_setting=1"), 3, "no such setting"),
    ],
    ids=["private", "unknown", "no number", "one and a private one", "one and an unknown one"],
)
def test_a_host_setting_that_is_refused_changes_nothing(
    before: str, tmp_path: Path, settings: tuple[str, ...], code: int, says: str
) -> None:
    """Also where another one was asked for with it that could be set."""
    words = [word for setting in settings for word in ("--host-sysctl", setting)]
    result = stormlab_json(tmp_path / "runs", "run", "--clients", "5", *words)
    assert result.code == code
    error = result.document["error"]
    assert says in f"{error['message']} {error['next_step']}"
    assert HOST.read_text().strip() == before


@pytest.mark.alone
def test_a_host_setting_is_put_back_when_the_server_fails(before: str, tmp_path: Path) -> None:
    setting = ("--host-sysctl", f"{SETTING}={other_than(before)}")
    assert stormlab_json(tmp_path / "runs", "run", "--command", "false {port}", "--clients", "5", *setting).code == 4
    assert HOST.read_text().strip() == before


@pytest.mark.alone
@pytest.mark.parametrize("alone", [True, False], ids=["the guard alone", "the run with it"])
def test_a_host_setting_is_put_back_loudly_where_its_guard_was_killed(before: str, tmp_path: Path, alone: bool) -> None:
    process = start(tmp_path, *(BRIEF if alone else LASTING), "--host-sysctl", f"{SETTING}={other_than(before)}")
    manifest = partial_manifest(tmp_path)
    (guard,) = [
        pid
        for pid in children.below([process.pid])
        if b"harness.machine.host_settings" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    for pid in (guard,) if alone else (guard, process.pid, int(str(manifest["supervisor_pid"]))):
        os.kill(pid, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    if not alone:
        assert HOST.read_text().strip() == other_than(before), "nobody was left to put it back"
        _, _, said = called("list", "--data", str(tmp_path / "runs"))
    assert f"put back: {SETTING}={before}" in said
    assert HOST.read_text().strip() == before
    assert SETTING not in called("list", "--data", str(tmp_path / "runs"))[2], "once"


def test_who_is_not_root_cannot_change_the_host(tmp_path: Path) -> None:
    prefix = ("setpriv", "--reuid", "65534", "--clear-groups") if os.geteuid() == 0 else ()
    if prefix and subprocess.run([*prefix, sys.executable, "-c", "import harness"], capture_output=True).returncode:
        pytest.skip("setpriv (util-linux) is not installed, or others than root cannot read this folder")
    result = stormlab_json(tmp_path / "runs", "run", "--host-sysctl", f"{SETTING}=77", prefix=prefix)
    assert result.code == 3
    assert "root" in result.document["error"]["message"]


@pytest.mark.alone
def test_the_input_queue_is_to_blame_and_widened_it_is_not(before: str, stormlab: Call) -> None:
    """The proof of a cause is that it goes when only that is changed."""
    if not nft_path():
        pytest.skip("nftables (Debian's nftables) is not installed: whose SYN was lost where is not counted")
    stall = ("--clients", "2000", "--backlog", "128", "--stall-ms", "3500", "--timeout", "6")
    lost = {
        size: some(stormlab("run", *stall, "--host-sysctl", f"{SETTING}={size}").run["causes"])
        for size in ("50", "100000")
    }
    assert lost["50"]["input_queue_dropped"] > 0
    assert "input_queue_dropped" not in lost["100000"]
    for causes in lost.values():
        assert causes["clean"] == 129
        assert "unknown" not in causes
