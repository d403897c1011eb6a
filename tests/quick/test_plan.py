"""Plans are values: refused when they mean nothing, identified by their content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import PlanError
from harness.plan import OPTIONS, PLANS, Load, Server, Trial, load_plan, trial_from_options


@pytest.mark.parametrize(
    "options",
    [
        {"clients": 0},
        {"clients": -5},
        {"clients": 1_000_001},
        {"clients": 1_000_000, "requests_per_client": 3},
        {"backlog": -1},
        {"backlog": 2**31},
        {"command": "myserver --port 80"},
        {"concurrency": 10, "rate": 10.0},
        {"rate": 0.0},
        {"rate": float("inf")},
        {"rate": 1.0},  # 50,000 s
        {"concurrency": 2, "processes": 4},
        {"timeout_s": 0.0},
        {"timeout_s": float("nan")},
        {"stall_ms": -1.0},
        {"cpu": "mine"},
        {"ready": "soon"},
        {"target_host": "192.0.2.1"},
        {"path": "no-slash"},
        {"path": "/a b"},
        {"sysctl": {"kernel.panic": 1}},
        {"clients": "many"},
        {"bogus": 1},
        {"allocator": "tcmalloc"},
        {"nofile_hard": 4096},
        {"nofile": 4096, "nofile_hard": 1024},
        {"settle_s": 61},
        {"accept_loops": 0},
        {"accept_batch": 1025},
        {"reuseport": True},
        {"reuseport": "off", "accept_loops": 2},
        {"stall_loop_ms": 5.0},
        {"accept_loops": 2, "stall_loop_ms": 0.0},
        {"settle_s": -1},
        {"settle_s": "long"},
        {"fast_open": "yes"},
        {"fast_open_queue": 0},
        {"defer_accept_s": 0},
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        trial_from_options(options)


@pytest.mark.parametrize("backlog", [0, 1, 2**31 - 1, "default"])
def test_every_backlog_that_listen_takes_can_be_planned(backlog: int | str) -> None:
    asked = trial_from_options({"backlog": backlog}).server.backlog
    assert asked == (None if backlog == "default" else backlog)


def test_a_trial_survives_json() -> None:
    trial = trial_from_options(
        {"server": "go", "clients": 7, "cpu": "disjoint", "client_cpus": [0, 1], "stall_ms": 5.0}
    )
    again = Trial.from_json(json.loads(json.dumps(trial.to_json())))
    assert again == trial
    assert again.plan_hash == trial.plan_hash


def test_the_hash_depends_on_content_only() -> None:
    assert Trial().plan_hash == Trial(server=Server(), load=Load()).plan_hash
    assert trial_from_options({"sysctl": {"net.a": 1, "net.b": 2}}).plan_hash == (
        trial_from_options({"sysctl": {"net.b": 2, "net.a": 1}}).plan_hash
    )
    hashes = {trial_from_options({"clients": clients, "backlog": b}).plan_hash for clients in (1, 2) for b in (1, 2)}
    assert len(hashes) == 4


def test_a_field_at_its_default_does_not_enter_the_hash() -> None:
    """A field that is added later must not orphan what was recorded before."""
    explicit = trial_from_options({"timeout_s": 10.0, "body_bytes": 12, "cpu": "shared"})
    assert explicit.plan_hash == Trial().plan_hash
    assert Trial().plan_hash == "44136fa355b3678a", "as it was when the first reference data were recorded"


def test_allocator_and_settling_are_asked_for_and_change_no_other_plan() -> None:
    plain = trial_from_options({"clients": 7})
    assert plain.plan_hash == trial_from_options({"clients": 7, "allocator": "system", "settle_s": 0}).plan_hash
    asked = trial_from_options({"clients": 7, "allocator": "mimalloc", "settle_s": 3})
    assert (asked.server.allocator, asked.settle_s) == ("mimalloc", 3)
    assert Trial.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    older = json.loads(json.dumps(plain.to_json()))
    del older["settle_s"], older["server"]["allocator"]
    assert Trial.from_json(older) == plain


def test_accept_loops_are_asked_for_and_change_no_other_plan() -> None:
    plain = trial_from_options({"clients": 7})
    asked = trial_from_options({"clients": 7, "accept_loops": 2, "reuseport": True, "stall_loop_ms": 3.0})
    assert (asked.server.accept_loops, asked.server.reuseport, asked.faults.stall_loop_ms) == (2, True, 3.0)
    assert Trial.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    older = json.loads(json.dumps(plain.to_json()))
    for name in ("accept_loops", "reuseport", "accept_batch"):
        del older["server"][name]
    del older["faults"]["stall_loop_ms"]
    assert Trial.from_json(older) == plain
    assert Trial.from_json(older).plan_hash == plain.plan_hash


def test_fast_open_and_defer_accept_are_asked_for_and_change_no_other_plan() -> None:
    plain = trial_from_options({"clients": 7})
    asked = trial_from_options({"clients": 7, "fast_open": True, "fast_open_queue": 16, "defer_accept_s": 2})
    assert (asked.load.fast_open, asked.server.fast_open_queue, asked.server.defer_accept_s) == (True, 16, 2)
    assert plain.plan_hash == trial_from_options({"clients": 7, "fast_open": False}).plan_hash != asked.plan_hash
    assert Trial.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    older = json.loads(json.dumps(plain.to_json()))
    del older["load"]["fast_open"], older["server"]["fast_open_queue"], older["server"]["defer_accept_s"]
    assert Trial.from_json(older) == plain


def test_a_limit_that_may_be_raised_changes_no_other_plan() -> None:
    plain = trial_from_options({"nofile": 1024})
    raisable = trial_from_options({"nofile": 1024, "nofile_hard": 4096})
    assert raisable.plan_hash != plain.plan_hash
    assert Trial.from_json(json.loads(json.dumps(raisable.to_json()))) == raisable
    older = json.loads(json.dumps(plain.to_json()))
    del older["server"]["nofile_hard"]
    assert Trial.from_json(older) == plain


def test_rows_are_kept_of_the_trials_that_are_named(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("keep_rows = 3\n[vary]\nbacklog = [1, 2]\nserver = ['go', 'node']\n[keep]\nbacklog = 2\n")
    plan = load_plan(file)
    assert {(trial.server.backlog, plan.rows_kept(trial)) for trial in plan.trials} == {(1, 0), (2, 3)}
    assert {plan.rows_kept(trial) for trial in plan.of_servers(["go"]).trials} == {0, 3}
    file.write_text("keep_rows = 3\n[vary]\nbacklog = [1, 2]\n")
    every = load_plan(file)
    assert {every.rows_kept(trial) for trial in every.trials} == {3}
    with pytest.raises(PlanError, match="keep"):
        load_plan(file, {"keep": {"backlog": 7}})


def test_plan_files_are_products(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("repeats = 2\n[base]\nclients = 9\n[vary]\nbacklog = [1, 2]\nserver = ['go', 'node', 'python']\n")
    plan = load_plan(file)
    assert (len(plan.trials), plan.repeats) == (6, 2)
    assert {trial.load.clients for trial in plan.trials} == {9}
    smaller = load_plan(file, {"vary": {"server": ["go"]}, "base": {"clients": 3}})
    assert [(trial.server.name, trial.load.clients) for trial in smaller.trials] == [("go", 3), ("go", 3)]


def test_a_control_is_held_twice_in_each_block(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text(
        "[vary]\nallocator = ['system', 'jemalloc']\nserver = ['python', 'node']\n[control]\nallocator = 'system'"
    )
    plan = load_plan(file)
    counted = {(trial.server.name, trial.server.allocator): plan.block.count(trial) for trial in plan.trials}
    assert counted == {
        ("python", "system"): 2,
        ("node", "system"): 2,
        ("python", "jemalloc"): 1,
        ("node", "jemalloc"): 1,
    }
    of_python = plan.of_servers(["python"])
    assert {trial.server.name for trial in of_python.block} == {"python"}
    assert (len(of_python.trials), len(of_python.variants), len(of_python.controls)) == (2, 2, 1)
    assert plan.of_servers([]) == plan
    assert load_plan(file, {"control": {"allocator": "jemalloc"}}).controls != plan.controls
    with pytest.raises(PlanError, match="control"):
        load_plan(file, {"control": {"allocator": "mimalloc"}})


def test_a_control_may_be_a_variant(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text("[variant.calm]\n[variant.stormy]\nrate = 9000\n[control]\nvariant = 'calm'")
    plan = load_plan(file)
    assert plan.controls == plan.trials[:1]
    with pytest.raises(PlanError, match="control"):
        load_plan(file, {"control": {"variant": "windy"}})


@pytest.mark.parametrize(
    "text", ["not toml", "[vary]\nbacklog = 3", "surprise = 1", "[base]\nclient = 3", "repeats = 0", "repeats = 'x'"]
)
def test_a_plan_file_that_cannot_be_meant_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(PlanError):
        load_plan(file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("http2", "no"),
        ("probe", "false"),
        ("trace", "on"),
        ("clients", True),
        ("clients", 10.0),
        ("clients", "7"),
        ("front_maxconn", 10.5),
        ("server", ["go"]),
        ("server", {"name": "go"}),
        ("sysctl", "net.a=1"),
        ("server_cpus", "0"),
        ("timeout_s", 0),
        ("syn_loss", 1),
        ("backlog", -1),
        ("ledger", "off"),
        ("stamps", "no"),
        ("front_rate_status", 429.0),
        ("command", "a\0b {port}"),
    ],
)
def test_a_value_of_another_type_or_beyond_its_bounds_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    """Each of these once meant something: ``bool("false")`` is true, and a float counts as many as its integer."""
    with pytest.raises(PlanError, match=OPTIONS[name].flag):
        trial_from_options({name: value})
    file = tmp_path / "p.toml"
    file.write_text(f"[base]\n{name} = {json.dumps(value) if not isinstance(value, dict) else '{ name = 1 }'}\n")
    with pytest.raises(PlanError, match=rf"^{'--command' if name == 'command' else name} .*p\.toml"):
        load_plan(file)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[base.sysctl]\n'net.a' = true", "sysctl"),
        ("[base.sysctl]\n'net.a' = [1]", "sysctl"),
        ("[vary]\nclients = [1, true]", "clients must be a whole number"),
        ("question = 3\n[base]\nclients = 7", "question"),
        ("[vary]\n" + "\n".join(f"{name} = {[*range(16, 80)]}" for name in ("clients", "nofile", "backlog")), "262144"),
        ("", "says nothing of its storms"),
        ("question = 'why?'", "says nothing of its storms"),
        ("keep_rows = -1\n[base]\nclients = 7", "keep_rows"),
        ("repeats = true\n[base]\nclients = 7", "repeats"),
        ("[vary]\nserver = ['go', 'go']", "'go' twice"),
        ("[scenario.a]\nclients = 7", "variant"),
    ],
)
def test_a_plan_that_would_run_what_nobody_asked_for_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "p.toml"
    file.write_text(text)
    with pytest.raises(PlanError, match=said):
        load_plan(file)


@pytest.mark.parametrize("path", sorted(PLANS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_plans_of_the_collection_can_be_read(path: Path) -> None:
    plan = load_plan(path)
    assert plan.question
    assert len({trial.plan_hash for trial in plan.trials}) == len(plan.trials)


def test_tracing_is_asked_for_and_changes_no_other_plan() -> None:
    plain, traced = trial_from_options({"clients": 7}), trial_from_options({"clients": 7, "trace": True})
    assert traced.trace
    assert not plain.trace
    assert plain.plan_hash == trial_from_options({"clients": 7, "trace": False}).plan_hash != traced.plan_hash
    assert Trial.from_json(json.loads(json.dumps(traced.to_json()))) == traced
    older = {key: value for key, value in plain.to_json().items() if key != "trace"}
    assert Trial.from_json(older) == plain
