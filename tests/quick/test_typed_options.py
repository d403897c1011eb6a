"""Options as they are typed: the command line makes the same storm of them."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

import pytest

from analysis.mitigations.options import options_table, typed
from harness.cli import build_parser, run
from harness.plan import PLANS, load_plan, trial_from_options

FILE = """
[base]
clients = 70
[variant."as it comes"]
[variant."a queue"]
front = "haproxy"
front_server_maxconn = 16
[vary]
server = ["hyper", "go"]
"""


def parsed(words: list[str]) -> argparse.Namespace:
    return build_parser().parse_args(["run", *shlex.split(" ".join(words))])


@pytest.mark.parametrize("name", [path.stem for path in sorted(PLANS.glob("07-*.toml"))])
def test_typed_options_are_the_same_storm(name: str) -> None:
    for trial in load_plan(PLANS / f"{name}.toml").trials:
        assert run.plan_of(parsed(typed(trial))).trials == (trial,)


def test_what_is_called_otherwise_or_has_no_value_is_typed_too() -> None:
    options = {"timeout_s": 2.5, "stamps": False, "reuseport": True, "accept_loops": 2, "server_cpus": [0, 1]}
    trial = trial_from_options({**options, "cpu": "disjoint", "client_cpus": [2], "command": "mine {port}"})
    words = typed(trial)
    assert {"--timeout 2.5", "--no-stamps", "--reuseport", "--server-cpus 0,1", "--command 'mine {port}'"} <= set(words)
    assert run.plan_of(parsed(words)).trials == (trial,)
    assert typed(trial_from_options({})) == []


def test_the_table_has_a_row_for_each_name_whatever_the_stack(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_text(FILE)
    rows = options_table({"storm": [load_plan(path)]}).to_dict("records")
    assert [(row["name"], row["options"]) for row in rows] == [
        ("all of them", "--clients 70"),
        ("as it comes", "as it comes"),
        ("a queue", "--front haproxy --front-server-maxconn 16"),
    ]


def test_one_name_of_two_meanings_has_two_rows(tmp_path: Path) -> None:
    plans = []
    for number, option in enumerate(("accept_loops = 2", "workers = 2")):
        path = tmp_path / f"{number}.toml"
        path.write_text(f'[base]\nserver = "{("hyper", "node")[number]}"\n[variant."more accept loops"]\n{option}\n')
        plans.append(load_plan(path))
    table = options_table({"storm": plans})
    assert table["options"].tolist() == ["as it comes", "--accept-loops 2", "--workers 2"]
    assert table["name"].tolist() == ["all of them", "more accept loops (hyper)", "more accept loops (node)"]
