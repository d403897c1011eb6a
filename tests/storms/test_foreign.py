"""Other generators drive a storm: in a private network with two addresses for localhost, and nothing of it is left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from analysis import attacks as record
from harness.errors import MachineError
from harness.events.records import recorded
from harness.machine import namespace
from harness.plan import Server
from harness.plan import attack as attacks
from harness.plan.attack import Attack, load_attacks
from harness.servers import build
from harness.thought.said import read
from harness.trial.foreign import run, tools

HOSTS = "127.0.0.1 localhost\n::1 localhost\n"
LOOK = (
    "import pathlib, socket, sys; from harness.machine import namespace; namespace.enter(); "
    "namespace.use_hosts(pathlib.Path(sys.argv[1])); "
    "print(*sorted(a[4][0] for a in socket.getaddrinfo('localhost', 80, type=socket.SOCK_STREAM)))"
)
BRIEF = "-duration=1s -keepalive=false -rate=200"


def require(*names: str) -> None:
    isolation = namespace.available()
    if not isolation.isolated:
        pytest.skip(isolation.reason)
    lacking = [lack.reason for name in names if (lack := tools.units()[name].missing) is not None]
    if lacking:
        pytest.skip("; ".join(lacking))


def test_a_private_hosts_file_is_seen_by_its_process_alone(tmp_path: Path) -> None:
    require()
    before = namespace.HOSTS.read_bytes()
    hosts = tmp_path / "hosts"
    hosts.write_text(HOSTS)
    looked = subprocess.run([sys.executable, "-c", LOOK, str(hosts)], capture_output=True, text=True, check=True)
    assert looked.stdout.split() == ["127.0.0.1", "::1"]
    assert namespace.HOSTS.read_bytes() == before


def test_the_old_vegeta_is_refused_on_the_address_where_nobody_listens(tmp_path: Path) -> None:
    require("vegeta-12.11.1")
    kept = run.run_attack(Attack(Server(name="python"), "vegeta-12.11.1", BRIEF), tmp_path, read)
    said, seen = kept["said"], kept["observed"]
    assert kept["tool"]["version"] == "v12.11.1"
    assert said["requests"] == said["answered"] + sum(said["kinds"].values())
    assert set(said["kinds"]) == {"refused on [::1]"}
    assert 0 < said["answered"] < said["requests"]
    assert seen["addresses"] == ["127.0.0.1"]
    if seen["syns"] is not None:
        assert seen["syns"]["syns_ipv6"] == said["kinds"]["refused on [::1]"]
        assert seen["syns"]["syns_ipv4"] >= said["answered"]
    assert recorded(tmp_path) == [kept], "what is kept is what was returned"


def test_at_the_literal_address_it_is_not(tmp_path: Path) -> None:
    require("vegeta-12.11.1")
    kept = run.run_attack(Attack(Server(name="python"), "vegeta-12.11.1", BRIEF, target="127.0.0.1"), tmp_path, read)
    assert kept["said"]["answered"] == kept["said"]["requests"] > 0
    if kept["observed"]["syns"] is not None:
        assert kept["observed"]["syns"]["syns_ipv6"] == 0


def test_a_plan_is_measured_once_and_read_back(tmp_path: Path) -> None:
    require("vegeta-12.11.1")
    plan_file = tmp_path / "small.toml"
    plan_file.write_text(f'repeats = 2\n[base]\nserver = "python"\noptions = "{BRIEF}"\ntool = "vegeta-12.11.1"\n')
    plan, said = load_attacks(plan_file), []
    first = record.record(plan, "here", data=tmp_path, say=said.append)
    assert len(first) == 2
    again = record.record(plan, "here", data=tmp_path, say=said.append)
    assert sorted(again["run_id"]) == sorted(first["run_id"]), "what was measured is not measured again"
    assert len(said) == 2


def test_a_tool_that_is_not_here_is_left_out_with_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "BUILT", tmp_path / "nothing")
    with pytest.raises(MachineError, match=r"vegeta-12\.13\.0: (it is not built|go is not installed)"):
        run.run_attack(Attack(Server(name="python")), tmp_path, read)
    said: list[str] = []
    plan = attacks.AttackPlan("p", "", (Attack(Server(name="python")),), 1, ("",))
    with pytest.raises(MachineError, match="no record of the plan"):
        record.record(plan, "here", data=tmp_path, say=said.append)
    assert len(said) == 1
    assert said[0].startswith("left out: vegeta-12.13.0: it is not built")
