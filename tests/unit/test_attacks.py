"""Attacks as data, and conditions in tables: values only, nothing is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import PlanError
from harness.foreign import record, tools
from harness.foreign.attack import Attack, collection, load_attacks
from harness.plan import Server
from harness.report import conditions as tell
from harness.report import published


def test_an_attack_survives_json_and_keeps_its_hash() -> None:
    attack = Attack(Server(name="go"), "hey-0.1.5", "-n {requests} -c {at_once}", requests=100, at_once=10, listen="::")
    assert Attack.from_json(json.loads(json.dumps(attack.to_json()))) == attack
    assert attack.typed_options == "-n 100 -c 10"
    assert attack.plan_hash != Attack(Server(name="go")).plan_hash


@pytest.mark.parametrize(
    "wrong",
    [{"target": "example.org"}, {"late_s": -1.0}, {"tool_nofile": 3}, {"rate": 0}, {"requests": 10**9}],
)
def test_an_attack_that_means_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PlanError):
        Attack(**wrong)


def test_options_with_a_placeholder_that_nothing_stands_for_are_refused() -> None:
    with pytest.raises(PlanError, match=r"\{clients\}"):
        _ = Attack(options="-n {clients}").typed_options


def test_a_plan_names_its_scenarios_and_knows_published_servers(tmp_path: Path) -> None:
    plan = tmp_path / "p.toml"
    plan.write_text(
        'repeats = 2\n[scenario.a]\nserver = "hyper-2024"\n[scenario.b]\nserver = "go"\n[vary]\nrate = [1, 2]\n'
    )
    found = load_attacks(plan)
    assert found.names == ("a", "a", "b", "b")
    assert "published-2024" in str(found.attacks[0].server.command)
    assert (found.attacks[0].listen, found.attacks[2].listen) == ("127.0.0.1", "::")
    for wrong in (
        "options = 5",
        "options = '-header=\"Host: here'",
        "options = '{requests.digits}'",
        "tool = 5",
        "listen = 5",
        "server = ['go']",
        "seconds = 'four'",
    ):
        plan.write_text(f"[base]\n{wrong}\n")
        with pytest.raises(PlanError) as refused:
            load_attacks(plan)
        assert "\n" not in refused.value.line
    plan.write_text("[scenario]\na = 5\n")
    with pytest.raises(PlanError, match=r"a in \S+ must be a table"):
        load_attacks(plan)
    plan.write_text('[base]\ntol = "hey"\n')
    with pytest.raises(PlanError, match="unknown option 'tol'"):
        load_attacks(plan)


def test_the_collections_plans_name_tools_that_there_are() -> None:
    attacks = [attack for plan in collection() for attack in plan.attacks]
    assert attacks
    assert {attack.tool for attack in attacks} <= set(tools.tools())
    for attack in attacks:
        assert attack.typed_options
        if attack.server.command:
            assert tools.unit_of(attack.server) is not None


def kept(variant_hash: str, answered: int, kinds: dict[str, int], server: str = "hyper-2024") -> dict[str, Any]:
    plan = Attack(Server(name=server), "vegeta-12.11.1").to_json()
    said = {"requests": 100, "answered": answered, "kinds": kinds, "output": "", "seconds": 1.0, "p50_ms": None}
    said |= {"p99_ms": None, "answers_per_step": [answered, 0, 1]}
    seen = {"addresses": ["127.0.0.1"], "backlog": 1024, "deepest_queue": 3, "syns": None, "counters": {}}
    return {
        "run_id": f"{variant_hash}-{answered}",
        "begun": "2026-01-01",
        "plan_hash": variant_hash,
        "plan": plan,
        "host": {"host_id": "h"},
        "tool": {"name": "vegeta-12.11.1", "version": "v12.11.1", "as_typed": "vegeta"},
        "server": {"name": server, "version": "", "log": ""},
        "said": said,
        "observed": seen | {"server_ended": None},
    }


def conditions() -> pd.DataFrame:
    half, quarter = {"refused on [::1]": 50}, {"refused": 75}
    records = [kept("a", 50, half), kept("b", 25, quarter), kept("c", 100, {}, "go"), kept("d", 100, {}, "node")]
    runs = record.frame(records).assign(variant=["half", "quarter", "quarter", "quarter"])
    return tell.of_attacks(runs, "g")


def test_conditions_say_what_failed_and_which_lie_in_a_band() -> None:
    found = conditions()
    assert tell.table(found)["failed as"].to_list() == ["refused on [::1] 50.0%", "refused 75.0%", "", ""]
    assert tell.within(found, 0.2, 0.3)["condition"].to_list() == ["quarter"]
    assert tell.in_pulses(found)["server"].to_list() == ["hyper-2024"] * 2, "one late answer of a hundred is no pulse"
    assert np.isinf(found["p50_ms"].iloc[1][0]), "half of the requests were not answered"


def test_as_published_takes_rivals_that_answer_everything_under_the_same_condition() -> None:
    found = conditions()
    assert tell.as_published(found, ["hyper-2024"], ["go", "node"], 0.2, 0.3)["condition"].to_list() == ["quarter"]
    found.at[3, "shares"] = [0.9]
    assert tell.as_published(found, ["hyper-2024"], ["go", "node"], 0.2, 0.3).empty


def storms() -> pd.DataFrame:
    """Two servers that ended, one of them not for its files, and one that lived."""
    same = {"plan": json.dumps({"server": _json("{python} x {port}")}), "planned": 100, "success_rate": 0.5}
    same |= {
        "outcomes": json.dumps({"answered": 50, "refused": 50}),
        "causes": json.dumps({"clean": 50, "refused": 50}),
    }
    same |= {"answers_per_step": [50], "p50_ms": 1.0, "lo_rx_dropped": 0, "generator": "ok", "out_of_files_lines": 1}
    rows = [
        same | {"variant": name, "run_id": str(number), "status": status, "server_files_limit": 1_024}
        for number, (name, status) in enumerate(
            [("files", "server_ended"), ("files", "complete"), ("other", "server_ended")]
        )
    ]
    rows[2]["out_of_files_lines"] = 0
    return tell.of_storms(pd.DataFrame(rows), "g")


def test_why_a_server_ended_is_told_where_it_is_known() -> None:
    assert tell.table(storms())["server ended"].to_list() == ["1 of 2, out of 1,024 files", "1 of 1"]


def test_slow_is_not_what_has_ended() -> None:
    pairs = tell.against(
        pd.concat([storms(), storms().assign(server="node", p50_ms=[[0.5], [0.5]])]), ["hyper-today"], "node"
    )
    said = published.slower_answer(pairs)
    assert "in 2 of 2 comparisons by median latency: 2 with one that ended (g: files, hyper-today" in said
    pairs["ended"] = False
    assert "2 with a server that lived" in published.slower_answer(pairs)


def test_rivals_that_fell_short_are_told_from_those_that_lost_packets() -> None:
    found = conditions()
    assert published.with_rivals(found) == (1, 0, 0)
    found.at[3, "shares"] = [0.9]
    assert published.with_rivals(found) == (1, 1, 0)
    found.at[3, "dropped"] = [7]
    assert published.with_rivals(found) == (1, 1, 1)


def test_a_server_is_called_by_what_its_command_adds() -> None:
    command = "{build}/audit/published-today/debug/published {port} socket2-std"
    assert tell.server_name(_json(command)) == "hyper-today, socket2-std"
    assert tell.server_name(_json("{python} {servers}/../foreign/unread.py x {port}")) == "hyper-today, output unread"


def _json(command: str) -> dict[str, object]:
    return {"name": "hyper-today", "command": command, "allocator": "system"}
