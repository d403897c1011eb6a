"""Documents that are generated, or that must name what exists, do."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from analysis import reference
from analysis.claims.evidence import Evidence, gather
from analysis.claims.page import outside
from analysis.pages import audit as audit_page
from analysis.pages import calibration as page
from analysis.pages import reference as reference_page
from analysis.pages.datacard import card
from analysis.pages.dictionary import DATA_README, data_dictionary
from harness import PROJECT, cli
from harness.cli import build_parser
from harness.cli.run import plan_of
from harness.events import store
from harness.page.notebooks import collection
from harness.plan import PLANS
from harness.servers.catalogue import catalogue
from harness.thought import experiments
from harness.thought import runs as results
from harness.thought.episodes import DRIVERS
from harness.thought.summary import Summary

README = (PROJECT / "README.md").read_text()
COMMAND_LINE = (PROJECT / "docs" / "commands.md").read_text()
FRONT_PAGES = ("README.md", "README.zh.md")
PAGES = (*FRONT_PAGES, "docs/commands.md", "docs/guide.md", "docs/method.md", "docs/storms.md")
"""Written by hand."""
COMMANDS = ["doctor", "servers", "run", "list", "show", "explain", "calibrate", "audit", "tune", "notebooks"]
COMMANDS += ["watch", "verdicts"]


def test_what_is_pinned_runs_on_the_oldest_python_that_is_promised() -> None:
    """Distributions keep theirs for years: Debian 12 has 3.11.2."""
    promised = re.search(r'requires-python = ">=([\d.]+)"', (PROJECT / "pyproject.toml").read_text())
    assert promised is not None
    pins = dict(line.split("==") for line in (PROJECT / "constraints.txt").read_text().splitlines() if "==" in line)
    asked = {name: metadata.metadata(name).get("Requires-Python") for name, pin in pins.items() if _has(name, pin)}
    assert len(asked) > len(pins) / 2
    too_new = {name: spec for name, spec in asked.items() if spec and f"{promised[1]}.0" not in SpecifierSet(spec)}
    assert not too_new


def _has(name: str, pin: str) -> bool:
    try:
        return metadata.version(name) == pin
    except metadata.PackageNotFoundError:
        return False


def test_the_calibration_page_is_the_generated_one() -> None:
    assert page.PAGE.read_text() == page.page(json.loads(page.RESULT.read_text())), "run `stormlab calibrate --export`"


def test_the_audit_page_is_the_generated_one() -> None:
    kept = json.loads(audit_page.RESULT.read_text())
    assert audit_page.PAGE.read_text() == audit_page.page(kept), "run `stormlab audit --export`"
    servers = {(row["stack"], row["version"]) for row in kept["stacks"] if row["backlog_effective"] is not None}
    assert len(servers) >= 18
    mio = {row["version"][:3]: row["backlog_effective"] for row in kept["stacks"] if row["stack"] == "mio"}
    assert (mio["1.0"], mio["1.1"], mio["1.2"]) == (1024, kept["somaxconn"], 128), "three generations, told apart"


def test_the_data_card_is_the_generated_one() -> None:
    runs = results.read(store.REFERENCE / results.RUNS)
    found = (store.REFERENCE / reference.CARD).read_text()
    assert found == card(runs, experiments.plans(), store.REFERENCE), "run `python -m analysis.reference`"


def test_no_more_than_is_allowed_is_committed() -> None:
    """40 MB of reference data in all."""
    assert sum(path.stat().st_size for path in store.REFERENCE.rglob("*") if path.is_file()) < 40e6


def test_the_data_dictionary_is_the_generated_one() -> None:
    assert DATA_README.read_text() == data_dictionary(), "run `python -m analysis.pages.dictionary`"


def test_the_reference_says_what_the_code_has() -> None:
    text = reference_page.PAGE.read_text()
    assert reference_page.filled(text) == text, "run `python -m analysis.pages.reference`"


def test_the_reference_names_all_that_is_decided_and_told() -> None:
    """What of it is written by hand: drivers, checks, the keys of RUN."""
    text = reference_page.PAGE.read_text()
    run = Summary(next(iter(store.runs(store.REFERENCE))))
    document = run.to_json()
    nested = [key for part in ("latency_ms", "kernel", "generator", "cpu") for key in document[part]]
    told = [*DRIVERS, *(check.name for check in run.checks), *document, *nested]
    assert not [word for word in told if f"`{word}`" not in text]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented_and_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"stormlab {command}" in COMMAND_LINE
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: stormlab {command} ")


def test_no_command_is_missed_here(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert re.findall(r"^ {4}([a-z]+)", capsys.readouterr().out, re.MULTILINE) == COMMANDS


def test_without_a_command_three_are_shown_that_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    shown = re.findall(r"^  stormlab (.*?)(?: {2,}|$)", capsys.readouterr().out, re.MULTILINE)
    assert len(shown) == 3
    for command in shown:
        build_parser().parse_args(shlex.split(command))


def test_every_notebook_and_server_is_indexed() -> None:
    for notebook in collection():
        assert f"notebooks/{notebook.name}" in README
    for name in catalogue():
        assert f"`{name}`" in COMMAND_LINE


def test_the_readme_is_read_in_a_few_minutes() -> None:
    """What is generated included; the rest is one link away."""
    words = re.sub(r"^```.*?^```$|\]\([^)]*\)|<!--.*?-->", "", README, flags=re.DOTALL | re.MULTILINE)
    assert len(re.findall(r"[A-Za-z][\w'’.-]*", words)) <= 1_000
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES)
def test_pages_link_to_files_that_are_there(page: str) -> None:
    path = PROJECT / page
    targets = re.findall(r"\]\((?!http)([^)#]+)", path.read_text())
    assert targets
    assert not [target for target in targets if not (path.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES)
def test_commands_on_pages_are_such_that_can_be_given(page: str) -> None:
    """All lines that begin with one: the words are options, and those of a storm make a trial."""
    text = (PROJECT / page).read_text().replace("\\\n", " ")
    commands = re.findall(r"^ *(?:\.venv/bin/)?stormlab (.*)", text, re.MULTILINE)
    for command in commands:
        options = build_parser().parse_args(shlex.split(command, comments=True))
        if options.command == "run":
            assert plan_of(options).trials


def _input_queue_is_overrun(evidence: Evidence) -> bool:
    lost = evidence.of_plan("04-root-cause").groupby("variant", observed=True)["lo_rx_dropped"]
    return bool(lost.min()["as it is"] > 0 == lost.max()["raised netdev_max_backlog"])


def _a_stopped_server_lets_129_through(evidence: Evidence) -> bool:
    storms = results.with_options(evidence.of_plan("04-root-cause"), "stall_ms", "backlog")
    storms = storms[(storms["stall_ms"] > 0) & (storms["backlog"] == 128)]
    return bool((storms["first_try_share"] * storms["clients"]).round().eq(129).all() and len(storms))


WRITTEN_BY_HAND: dict[str, Callable[[Evidence], bool]] = {
    "retransmissions of a storm overrun this host's input queue and never reach the server. Root can show that by "
    "intervention": _input_queue_is_overrun,
    "# a stopped server lets 129 through": _a_stopped_server_lets_129_through,
}
"""What the README says of results outside of what is generated."""


@pytest.mark.parametrize("sentence", WRITTEN_BY_HAND)
def test_what_is_written_by_hand_is_true_of_the_data(sentence: str) -> None:
    assert any(sentence in " ".join((PROJECT / page).read_text().split()) for page in PAGES)
    assert WRITTEN_BY_HAND[sentence](gather(store.REFERENCE))


NO_RESULTS = (
    "Python ≥ 3.11",
    "the thread that accepts is at 100 %",
    "answer 503 early",
    "a target of success and p99",
    "HTTP/2",
    "Exit codes: 0 done, 1 a check failed, 2 bad arguments, 3 this machine cannot, 4 the server failed (the run is "
    "kept), 130 interrupted",
)
"""All that pages say with a digit outside of code and of what is generated. Whoever writes another one decides here
whether it is no result; one that is belongs into what is generated, or above with what it is checked by."""


def prose(page: str) -> str:
    """What of a page is written by hand and is no code, link or name of a notebook, as one line."""
    text = (PROJECT / page).read_text()
    text = outside(text, chinese=page == "README.zh.md") if page in FRONT_PAGES else text
    for code in (
        r"^```.*?^```$",
        r"`[^`]*`",
        r"<!--.*?-->",
        r"^\d\. ",
        r"IPv[46]",
        r"\[\d\d-[a-z-]+\]\([^)]*\)",
        r"(?<=\])\([^)]*\)",
    ):
        text = re.sub(code, "", text, flags=re.DOTALL | re.MULTILINE)
    return " ".join(text.split())


def numbers(text: str) -> list[str]:
    """Every number in a text, with the words around it, that no phrase of :data:`NO_RESULTS` has in it."""
    for phrase in (*NO_RESULTS, *WRITTEN_BY_HAND):
        text = text.replace(phrase, "")
    return re.findall(r"\S*(?: \S+)? \S*\d\S*(?: \S+){0,2}", f"  {text}")


@pytest.mark.parametrize("page", PAGES)
def test_no_other_number_is_written_by_hand(page: str) -> None:
    assert len(prose(page)) > 300
    assert not numbers(prose(page))


def test_every_phrase_without_a_result_is_on_a_page() -> None:
    text = " ".join(map(prose, PAGES))
    assert not [phrase for phrase in NO_RESULTS if phrase not in text]


@pytest.mark.parametrize(
    "sentence",
    [
        "Hyper answers 25 % of them.",
        "It took 3 s.",
        "Go is 2.1x faster.",
        "In 7 of 10 storms it fell.",
        "129 got through",
    ],
)
def test_a_number_of_a_result_in_a_sentence_is_found(sentence: str) -> None:
    assert numbers(f"{prose('README.md')} {sentence}")


@pytest.mark.parametrize("plan", sorted(PLANS.rglob("*.toml")), ids=lambda path: path.stem)
def test_a_program_of_ours_that_a_plan_starts_is_there(plan: Path) -> None:
    """It was moved once, and the plan that starts it was not."""
    for named in re.findall(r"\{servers\}(\S+)", plan.read_text()):
        assert (PROJECT / "harness" / "servers").joinpath(named.lstrip("/")).resolve().is_file()


@pytest.mark.parametrize("source", sorted((PROJECT / "harness").rglob("*.rs")), ids=lambda path: path.name)
def test_a_file_that_rust_takes_from_elsewhere_is_there(source: Path) -> None:
    """They were moved once, and the published servers could not be built any more."""
    for named in re.findall(r'#\[path = "([^"]+)"\]', source.read_text()):
        assert (source.parent / named).resolve().is_file()
