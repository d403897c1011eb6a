"""The catalogue is data, open to the user."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness import PROJECT
from harness.errors import MachineError, PlanError
from harness.plan import Server, load_plan
from harness.plan.attack import collection
from harness.servers import allocators, build
from harness.servers.catalogue import (
    argv,
    binary_hash,
    catalogue,
    default_places,
    find,
    identity_hash,
    known,
    preloaded,
    provide,
)

NAMES = {"python", "hyper", "hyper-std", "actix", "tokio", "tokio-std", "go", "node"}


def test_the_eight_variants_are_there_and_python_needs_nothing() -> None:
    entries = catalogue()
    assert set(entries) >= NAMES
    assert entries["python"].missing is None


def test_lab_servers_take_every_option_of_the_contract() -> None:
    server = Server("python", backlog=7, body_bytes=1, work_us=2, workers=3)
    words = argv(catalogue()["python"], server, "::1", 81)
    for flag, value in (("--host", "::1"), ("--port", "81"), ("--backlog", "7"), ("--workers", "3")):
        assert words[words.index(flag) + 1] == value
    default = argv(catalogue()["python"], Server("python"), "::1", 81)
    assert default[default.index("--backlog") + 1] == "default"


def test_http2_is_asked_for_where_it_is_wanted_and_nowhere_else() -> None:
    entries = catalogue()
    assert "--http" not in argv(entries["go"], Server("go"), "::1", 81)
    words = argv(entries["go"], Server("go"), "::1", 81, http2=True)
    assert words[words.index("--http") + 1] == "2"
    with pytest.raises(PlanError, match="does not speak HTTP/2"):
        argv(entries["tokio"], Server("tokio"), "::1", 81, http2=True)
    program, plain = (argv(entries["hyper"], Server("hyper"), "::1", 81, http2=http2)[0] for http2 in (True, False))
    assert program == f"{plain}-http2", "linking it in changes what HTTP/1.1 costs"
    with pytest.raises(PlanError, match="not built for HTTP/2 with jemalloc"):
        argv(entries["hyper"], Server("hyper", allocator="jemalloc"), "::1", 81, http2=True)
    own = Server(command="prog {port}")
    assert argv(known(own), own, "::1", 81, http2=True) == ["prog", "81"], "whether one's own speaks it is seen"


def test_of_two_versions_of_a_library_each_server_names_its_own() -> None:
    entries = catalogue()
    assert "h2 0.4." in entries["hyper"].version
    assert "h2 0.3." in entries["actix"].version


def test_places_that_are_filled_with_a_word_are_known() -> None:
    command = "mine --port {port} --backlog {backlog} --threads {workers} --work {work_us}"
    assert default_places(Server(command=command)) == ["backlog", "workers"]
    assert default_places(Server(command=command, backlog=128)) == ["workers"]
    words = argv(known(Server(command=command)), Server(command=command), "::1", 81)
    assert words.count("default") == 2
    assert default_places(Server(command="mine {port}")) == []


def test_a_users_entry_is_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servers.toml").write_text("[mine]\ncommand = \"sh 'a b' --port {port}\"\n")
    monkeypatch.chdir(tmp_path)
    entry = find(Server("mine"))
    assert argv(entry, Server("mine"), "127.0.0.1", 81) == ["sh", "a b", "--port", "81"]


def test_a_users_entry_is_said_with_its_file_before_it_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servers.toml").write_text('[mine]\ncommand = "sh --port {port}"\n')
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    provide(Server("mine"), said.append)
    assert len(said) == 1
    assert str(tmp_path / "servers.toml") in said[0]
    assert "sh --port" in said[0]
    provide(Server("python"), said.append)
    assert len(said) == 1, "of the lab's own nothing is said"


@pytest.mark.parametrize("name", ["python", "hyper"])
def test_the_labs_names_are_not_to_be_had_by_others(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the folder that one happens to be in would be run as the caller, and counted as Hyper."""
    (tmp_path / "servers.toml").write_text(f'[{name}]\ncommand = "sh {{port}}"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match=name) as refused:
        catalogue()
    assert str(tmp_path / "servers.toml") in refused.value.message


@pytest.mark.parametrize(
    "text",
    [
        "[mine]\n",
        '[mine]\ncommand = "no port"\n',
        "mine = 3",
        *(f'[mine]\ncommand = "{{port}}"\n{line}' for line in ("x = 1", 'unit = "cobol"', 'http2 = "no"', "title = 3")),
    ],
)
def test_a_users_entry_that_cannot_be_meant_is_refused(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text(text)
    monkeypatch.setenv("STORMLAB_SERVERS", str(tmp_path / "mine.toml"))
    with pytest.raises(PlanError):
        catalogue()


def test_a_users_program_that_is_not_there_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servers.toml").write_text('[mine]\ncommand = "./no-such-program {port}"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MachineError, match="no-such-program"):
        find(Server("mine"))


def test_an_option_that_a_command_cannot_pass_on_is_refused() -> None:
    server = Server(command="prog {port}", backlog=128)
    with pytest.raises(PlanError, match="--backlog"):
        argv(find(server), server, "127.0.0.1", 81)


@pytest.mark.parametrize("command", ["prog {port} {nonsense}", "prog {port} 'unclosed", "prog {port} {0}"])
def test_a_malformed_command_is_refused(command: str) -> None:
    server = Server(command=command)
    with pytest.raises(PlanError, match="cannot be read"):
        argv(find(server), server, "127.0.0.1", 81)


def test_what_plans_start_from_the_checkout_is_there() -> None:
    """Commands are in the plans' hashes and stay as they were recorded, also where a file has moved."""
    planned = {trial.server for path in (PROJECT / "plans").glob("*.toml") for trial in load_plan(path).trials}
    planned |= {attack.server for plan in collection() for attack in plan.attacks}
    for server in (one for one in planned if one.command is not None):
        words = argv(known(server), server, "127.0.0.1", 81)
        assert not [word for word in words if word.startswith(str(build.SOURCES)) and not Path(word).exists()]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(PlanError, match="hyper-std"):
        find(Server("hyperr"))


def test_a_missing_toolchain_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "BUILT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MachineError, match="go is not installed") as missing:
        find(Server("go"))
    assert "make setup" in missing.value.next_step


def test_the_hash_follows_the_files_on_the_command_line(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text("1")
    first = binary_hash([sys.executable, str(script)])
    script.write_text("22")
    assert binary_hash([sys.executable, str(script)]) != first
    assert binary_hash([sys.executable, str(script), "--port", "1"]) == binary_hash([sys.executable, str(script)])


def test_each_allocator_has_a_rust_program_of_its_own() -> None:
    programs = [
        argv(catalogue()["hyper"], Server("hyper", allocator=allocator), "::1", 81)[0]
        for allocator in ("system", "jemalloc", "mimalloc")
    ]
    assert [Path(program).name for program in programs] == ["hyper", "hyper-jemalloc", "hyper-mimalloc"]
    assert preloaded(catalogue()["hyper"], Server("hyper", allocator="jemalloc")) is None


def test_what_is_preloaded_is_part_of_what_a_server_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library = tmp_path / "libjemalloc.so.2"
    library.write_text("1")
    monkeypatch.setattr(allocators, "library", lambda allocator: library)
    plain, other = Server("python"), Server("python", allocator="jemalloc")
    entry = catalogue()["python"]
    assert preloaded(entry, plain) is None
    assert preloaded(entry, other) == library
    before = identity_hash(entry, other)
    assert before != identity_hash(entry, plain)
    library.write_text("22")
    assert identity_hash(entry, other) != before


def test_a_runtime_with_an_allocator_of_its_own_takes_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.Unit, "missing", None)
    assert find(Server("go")).own_allocator
    with pytest.raises(MachineError, match=r"go.* allocator of its own"):
        find(Server("go", allocator="jemalloc"))


@pytest.mark.parametrize(
    "server", [Server("python", allocator="mimalloc"), Server(command="x {port}", allocator="mimalloc")]
)
def test_a_library_that_is_not_there_is_named_with_its_package(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocators, "library", lambda allocator: None)
    with pytest.raises(MachineError, match="libmimalloc") as found:
        find(server)
    assert "libmimalloc2.0" in found.value.next_step


def test_a_compiler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "BUILT", tmp_path)
    for program in ("cargo", "make"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    reason = build.VARIANTS["jemalloc"].missing
    assert reason is not None
    assert reason.reason.startswith("cc is not installed")
    assert "gcc, which allocators are built with" in reason.next_step


def test_a_name_that_is_nearly_one_of_ours_is_asked_about() -> None:
    with pytest.raises(PlanError) as refused:
        known(Server("nod"))
    assert refused.value.next_step.startswith("did you mean node? ")
    with pytest.raises(PlanError) as unlike:
        known(Server("zzz"))
    assert "did you mean" not in unlike.value.next_step
