"""From what was seen of a server to its row, its word and its place on the page; and who is audited."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from analysis.pages import audit as page
from analysis.pages.audit_findings import OUT_OF_FILES, findings, named
from harness.errors import PlanError
from harness.page.audit import accepts, out_of_files
from harness.servers import build
from harness.servers.audit import run
from harness.servers.audit.asking import loopback_of
from harness.servers.audit.row import Observed, Seen, Word, lines_on_files, verdict
from harness.servers.audit.strace import Trace
from harness.servers.audit.subjects import SOURCES, Subject, find, of_command, subjects

OUT = Seen(limit=64, most_files=64, cpu_share=0.01, busy_share=0.02, resumed_after_ms=(3.0, 4.0))
SEEN = Observed(
    somaxconn=4096,
    somaxconn_raised=1_000_000,
    addresses=("127.0.0.1",),
    backlog=128,
    backlog_raised=128,
    answers_ipv4=True,
    answers_ipv6=False,
    keeps_alive=True,
    honours_close=True,
    trace=Trace(asked=(128,), runs=(1,)),
    burst=129,
    announced="thing 1.2",
    out_of_files=OUT,
)
SUBJECT = Subject("thing", "Thing", "thing {port}")


def made(**seen: Any) -> dict[str, Any]:
    return run.row(SUBJECT, replace(SEEN, **seen).columns())


# ---- the word for what happens without files --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("ends", replace(OUT, ended="exit status 1", resumed_after_ms=())),
        ("restarts", replace(OUT, restarted=True, resumed_after_ms=(150.0, 1500.0))),
        ("not_reached", replace(OUT, most_files=63)),
        ("stuck", replace(OUT, resumed_after_ms=(None, None))),
        ("closes", replace(OUT, closed=3)),
        ("spins", replace(OUT, cpu_share=0.9, busy_share=1.0)),
        ("spins", replace(OUT, failed_accepts_per_s=20_000.0)),
        ("pauses", replace(OUT, resumed_after_ms=(3.0, 640.0))),
        ("pauses", replace(OUT, failed_accepts_per_s=1_000.0, resumed_after_ms=(300.0, 640.0))),
        ("waits", OUT),
        ("unknown", None),
        ("unknown", replace(OUT, resumed_after_ms=())),
    ],
)
def test_the_word_follows_from_what_was_seen(word: str, seen: Seen | None) -> None:
    assert verdict(seen) == word


def test_every_word_has_its_meaning_on_the_page() -> None:
    assert set(OUT_OF_FILES) == set(get_args(Word)) - {"unknown"}


def test_a_server_that_wants_a_cpu_all_the_time_spins_also_where_it_does_not_get_one() -> None:
    assert verdict(replace(OUT, cpu_share=0.1, busy_share=0.95)) == "spins"


def test_failed_accepts_show_that_files_ran_out_also_where_the_count_missed_it() -> None:
    assert verdict(replace(OUT, most_files=63, failed_accepts_per_s=2.0)) == "waits"


# ---- the row ------------------------------------------------------------------------------------------------------


def test_a_row_has_what_the_contract_names() -> None:
    contract = ["stack", "version", "backlog_asked", "backlog_effective", "on_emfile", "dual_stack", "honours_close"]
    assert set(made()) >= {*contract, "evidence"}
    assert made()["version"] == "thing 1.2", "what it says of itself, where nothing else is known"


def test_what_the_trace_says_was_asked_is_believed() -> None:
    found = made(trace=Trace(asked=(64, -1)), backlog=4096, backlog_raised=1_000_000)
    assert (found["backlog_asked"], found["evidence"], found["follows_somaxconn"]) == (-1, "strace", True)


UNTRACED: dict[str, Any] = {"trace": Trace(), "burst": None}


@pytest.mark.parametrize(
    ("backlog", "raised", "asked", "follows"),
    [
        (128, 128, 128, False),
        (4096, 5000, 5000, False),
        (4096, 4096, 4096, False),
        (4096, 1_000_000, None, True),
        (4096, None, None, None),
        (511, None, 511, None),
        (None, None, None, None),
    ],
)
def test_without_a_trace_the_kernel_is_asked_twice(
    backlog: int | None, raised: int | None, asked: int | None, follows: bool | None
) -> None:
    """A value at the limit may have been cut: with the limit raised it shows, unless it follows the limit."""
    found = made(**UNTRACED, backlog=backlog, backlog_raised=raised)
    assert (found["backlog_asked"], found["follows_somaxconn"]) == (asked, follows)
    assert (found["evidence"], found["accept_blocks"]) == ("kernel", None)


def test_where_there_is_no_ipv6_nothing_is_said_of_two_stacks() -> None:
    assert made(answers_ipv6=None)["dual_stack"] is None
    assert made(answers_ipv6=True)["dual_stack"] is True
    assert made(answers_ipv4=False, answers_ipv6=True)["dual_stack"] is False


def test_a_row_comes_through_json_unchanged() -> None:
    assert json.loads(json.dumps(made(out_of_files=None))) == made(out_of_files=None)


@pytest.mark.parametrize(
    ("addresses", "hosts"),
    [
        (["0.0.0.0"], ["127.0.0.1"]),
        (["::"], ["127.0.0.1", "::1"]),
        (["::1", "127.0.0.1"], ["127.0.0.1", "::1"]),
        (["127.0.0.7"], ["127.0.0.7"]),
    ],
)
def test_a_server_is_asked_where_it_listens(addresses: list[str], hosts: list[str]) -> None:
    assert loopback_of(addresses) == hosts


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("2026/03/01 10:11:12 http: Accept error: too many open files", "http: Accept error: too many open files"),
        ("\x1b[31mERROR\x1b[0m accept: Too many open files (os error 24)", "ERROR accept: Too many open files"),
        ("[2026-03-01 10:11:12,123] /opt/lab/serve.py: [Errno 24] no", "…: [Errno 24] no"),
    ],
)
def test_a_line_of_log_is_kept_without_times_colours_and_paths(line: str, said: str) -> None:
    found = lines_on_files(["starting", line])
    assert found is not None
    assert found.startswith(said)


def test_a_log_that_says_nothing_of_files_is_not_quoted() -> None:
    assert lines_on_files(["starting", "ready"]) is None


# ---- who is audited -----------------------------------------------------------------------------------------------


def test_every_subject_can_be_started_as_it_is_described() -> None:
    for subject in (known for known in subjects().values() if known.described):
        words = subject.argv(8080, "/folder")
        assert not [word for word in words if "{" in word], subject.name
        assert "8080" in " ".join(words) or "{port}" in (SOURCES / str(subject.config)).read_text()
        assert set(subject.own) <= {"accept loop", "HTTP"}, subject.name
        assert subject.why, f"{subject.name}: where its values come from is not said"


def test_versions_are_those_of_the_lock_files() -> None:
    known = subjects()
    assert known["mio-1.0"].version.startswith("1.0.")
    assert known["mio-1.1"].version.startswith("1.1.")
    assert known["mio-1.2"].version.startswith("1.2.")
    assert known["tokio-1.50-mio-1.1"].version.startswith("1.50.0 (mio 1.1.")
    assert "?" not in "".join(subject.version for subject in known.values())


def test_names_may_be_begun_and_one_that_nobody_has_is_an_error() -> None:
    assert [subject.name for subject in find(["mio"])] == ["mio-0.8", "mio-1.0", "mio-1.1", "mio-1.2"]
    assert [subject.name for subject in find(["go"])] == ["go"], "a whole name means itself"
    assert len(find([])) == len(subjects())
    with pytest.raises(PlanError, match="nope"):
        find(["nope"])


@pytest.mark.parametrize("name", ["aiohttp", "mio-1.0", "python", "command"])
def test_the_names_of_the_audit_are_not_to_be_had_by_others(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in the folder that one happens to be in would be run as the caller, and its row taken for the stack's."""
    (tmp_path / "servers.toml").write_text(f'["{name}"]\ncommand = "sh {{port}}"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match=name) as refused:
        subjects()
    assert str(tmp_path / "servers.toml") in refused.value.message


def test_a_users_server_is_audited_and_not_committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "servers.toml").write_text('[mine]\ncommand = "sh {port}"\n')
    monkeypatch.chdir(tmp_path)
    known = subjects()
    assert not known["mine"].described
    assert known["python"].described
    assert known["mio-1.0"].described


def test_a_command_needs_a_place_for_the_port() -> None:
    assert of_command("x --port {port}").argv(81, "") == ["x", "--port", "81"]
    with pytest.raises(PlanError, match="port"):
        of_command("x")


def test_a_unit_is_missing_until_it_is_built_from_these_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "BUILT", tmp_path)
    unit = subjects()["uvicorn"].unit
    assert unit is not None and unit.missing is not None
    assert "--build" in unit.missing.next_step
    stamp = unit.folder / "built.json"
    stamp.parent.mkdir(parents=True)
    stamp.write_text('{"sources": "of something older"}')
    assert unit.missing is not None


# ---- the page -----------------------------------------------------------------------------------------------------

CONDITIONS = {"host": "2 × CPU", "somaxconn": 4096, "somaxconn_raised": 1_000_000}


def of(name: str, stack: str, version: str, **fields: Any) -> dict[str, Any]:
    return {**made(), "name": name, "stack": stack, "version": version, "date": "2026-03-01", **fields}


def test_rows_take_the_place_of_those_of_their_name_and_others_stay() -> None:
    old = page.document([of("a", "A", "1.2"), of("b", "B", "1")], CONDITIONS)
    new = page.document([of("a", "A", "1.10")], CONDITIONS, old)
    assert [(row["name"], row["version"]) for row in new["stacks"]] == [("a", "1.10"), ("b", "1")]


def test_rows_of_two_machines_are_not_mixed() -> None:
    old = page.document([of("a", "A", "1"), of("b", "B", "1")], {**CONDITIONS, "host": "another"})
    assert [row["name"] for row in page.document([of("a", "A", "1")], CONDITIONS, old)["stacks"]] == ["a"]


def test_versions_are_ordered_as_numbers() -> None:
    rows = [of("c", "A", "1.10"), of("b", "A", "1.9"), of("a", "B", "1", lab=True)]
    assert [row["name"] for row in page.document(rows, CONDITIONS)["stacks"]] == ["a", "b", "c"]


def test_the_page_shows_every_row_and_why() -> None:
    text = page.page(page.document([of("a", "Aardvark", "1.2", why="line 7"), of("b", "B", "3")], CONDITIONS))
    assert "| Aardvark | 1.2 | 128 | 128 | 128 | no (127.0.0.1) | yes | yes | 1 | waits |" in text
    assert "- **Aardvark 1.2**: line 7" in text
    assert "2026-03-01" in text


def test_a_row_without_a_trace_has_fewer_values_and_the_page_says_so() -> None:
    text = page.page(page.document([of("a", "A", "1", **UNTRACED_ROW)], CONDITIONS))
    assert "without a trace of system calls: A" in text
    assert "| – | waits |" in text


UNTRACED_ROW = {"evidence": "kernel", "accepts_per_wakeup": None, "burst": None, "accept_blocks": None}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"accepts_per_wakeup": 129, "burst": 129}, "all 129"),
        ({"accepts_per_wakeup": 4, "burst": 256}, "4"),
        ({"accepts_per_wakeup": 1, "burst": 256, "accept_blocks": True}, "1 (accept itself waits)"),
        ({"accepts_per_wakeup": 1, "burst": 1, "accept_blocks": False}, "1"),
    ],
)
def test_accepts_a_wakeup_as_the_table_says_them(fields: dict[str, Any], said: str) -> None:
    assert accepts({**made(), **fields}) == said


def test_what_happens_without_files_is_said_with_how_much() -> None:
    def said(seen: Seen) -> str:
        return out_of_files(made(out_of_files=seen))

    assert said(replace(OUT, resumed_after_ms=(3.0, 640.0), longest_pause_ms=1001.0)) == "pauses, up to 1,001 ms"
    assert said(replace(OUT, busy_share=1.0)) == "spins"
    assert said(replace(OUT, busy_share=1.0, log_lines_per_s=1234.5)) == "spins, 1,234 lines of log/s"
    assert said(replace(OUT, most_files=9)) == "not reached"
    assert out_of_files(made(out_of_files=None)) == "unknown"


def test_findings_say_only_what_the_rows_bear() -> None:
    tokio = [
        of("t-0", "tokio", "1.50.0 (mio 1.0.4)", backlog_asked=1024),
        of("t-1", "tokio", "1.50.0 (mio 1.1.1)", backlog_asked=-1),
    ]
    assert "tokio 1.50.0 asks for 1,024 with mio 1.0.4, −1 with mio 1.1.1" in findings(tokio)
    assert "lock file" not in findings(tokio[:1])
    assert "two defaults" not in findings(tokio)
    assert "is honoured** by every one" in findings(tokio)
    assert "is not honoured** by tokio" in findings([{**tokio[0], "honours_close": False}])


def test_stacks_are_named_once_with_their_versions_and_the_labs_by_name() -> None:
    rows = [of("a", "A", "1"), of("a2", "A", "2"), of("go", "Go, net/http", "go1.26", lab=True)]
    assert named(rows) == "A 1, 2; the lab's `go`"


def test_a_line_of_a_servers_log_has_no_power_over_the_terminal() -> None:
    assert lines_on_files(["\x1b]0;a title\x07\x1b[2Jtoo many open files\x9b1m\n"]) == "too many open files1m"
