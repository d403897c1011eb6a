"""Attacks as data, and conditions in tables: values only, nothing is started."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis import attacks as record
from analysis.published import answers as answer
from analysis.published import bands, demand, rivals
from analysis.published import conditions as tell
from analysis.published import told as published
from harness.errors import PlanError
from harness.plan import Server
from harness.plan.attack import Attack, collection, load_attacks
from harness.trial.foreign import tools


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
        'repeats = 2\n[variant.a]\nserver = "hyper-2024"\n[variant.b]\nserver = "go"\n[vary]\nrate = [1, 2]\n'
    )
    found = load_attacks(plan)
    assert found.variants == ("a", "a", "b", "b")
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
    plan.write_text("[variant]\na = 5\n")
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


@pytest.mark.parametrize(
    ("options", "requests"),
    [
        ("-duration={seconds}s -keepalive=false -connections=10000 -rate={rate}", 2_000),
        ("-duration=10s -keepalive=false -rate=5000 -timeout=10s", 50_000),
        ("-n {requests} -c {at_once} --disable-keepalive -t 10s", 50_000),
        ("", None),
    ],
)
def test_what_was_wanted_of_a_tool_is_in_its_options(options: str, requests: int | None) -> None:
    assert demand.wanted(Attack(options=options)) == requests


def test_a_tool_that_sent_far_fewer_once_did_not_drive_what_was_wanted() -> None:
    assert demand.driven([50_000, 45_000], [50_000, 50_000])
    assert not demand.driven([50_000, 10_611], [50_000, 50_000])
    assert demand.driven([3], [None]), "where nothing is said, nothing is held against it"


def kept(
    variant_hash: str, answered: int, kinds: dict[str, int], server: str = "hyper-2024", **planned: Any
) -> dict[str, Any]:
    plan = Attack(Server(name=server), "vegeta-12.11.1", **planned).to_json()
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
    assert bands.within(found, bands.QUARTER)["condition"].to_list() == ["quarter"]
    assert tell.in_pulses(found)["server"].to_list() == ["hyper-2024"] * 2, "one late answer of a hundred is no pulse"
    assert np.isinf(found["p50_ms"].iloc[1][0]), "half of the requests were not answered"


def storms() -> pd.DataFrame:
    """Two servers that ended, one of them not for its files, and one that lived."""
    same = {"plan": {"server": _json("{python} x {port}")}, "planned": 100, "success_rate": 0.5}
    same |= {
        "outcomes": {"answered": 50, "refused": 50},
        "causes": {"clean": 50, "refused": 50},
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


def test_the_most_open_files_that_there_were_are_said_to_be_the_machines() -> None:
    plan = {"server": _json("{python} x {port} socket2")}
    ran = {"plan": plan, "server_files_limit": 20_000, "status": "complete", "out_of_files_lines": 0}
    over = ran | {"status": "server_ended", "out_of_files_lines": 1}
    less = over | {"server_files_limit": 8_192, "plan": {"server": _json("{python} x {port}")}}
    said = answer.ceiling(pd.DataFrame([ran, over, less]))
    assert "No server has more than 20,000 open files, which is this machine's own limit" in said
    assert "Out of them ended: hyper-today, socket2 in 1 of 2 storms. No higher limit" in said
    assert answer.ceiling(pd.DataFrame([ran, less])).endswith("none ended out of them.")


def test_slow_is_not_what_has_ended() -> None:
    pairs = rivals.against(
        pd.concat([storms(), storms().assign(server="node", p50_ms=[[0.5], [0.5]])]), ["hyper-today"], "node"
    )
    said = answer.slower_answer(pairs)
    assert "in 2 of 2 comparisons by median latency: 2 with one that ended (g: files, hyper-today" in said
    pairs["ended"] = False
    assert "2 with a server that lived" in answer.slower_answer(pairs)


def test_a_server_is_called_by_what_its_command_adds() -> None:
    command = "{build}/audit/published-today/debug/published {port} socket2-std"
    assert tell.server_name(_json(command)) == "hyper-today, socket2-std"
    assert tell.server_name(_json("{python} {servers}/../foreign/unread.py x {port}")) == "hyper-today, output unread"


def _json(command: str) -> dict[str, object]:
    return {"name": "hyper-today", "command": command, "allocator": "system"}


# ---- what the notebook says ------------------------------------------------------------------------------------------


def attacks(*records: dict[str, Any]) -> pd.DataFrame:
    return record.frame(records).assign(variant="v")


def test_a_runner_that_does_not_wait_holds_hyper_late_against_the_others_in_time_and_late() -> None:
    in_time = attacks(kept("a", 50, {}), kept("b", 100, {}, "go"), kept("c", 100, {}, "node"))
    late = [kept(f"d{n}", share, {}, late_s=2.0) for n, share in enumerate((24, 25, 60))]
    alone = published.runner_answer(in_time, attacks(*late), "vegeta-12.11.1", bands.QUARTER)
    assert "2 s late 36.3%" in alone
    assert "if late by: 2 s. Were Hyper late and the others in time, these were the published shares" in alone
    both = [*late, kept("e", 51, {}, "go", late_s=2.0), kept("f", 52, {}, "node", late_s=2.0)]
    said = published.runner_answer(in_time, attacks(*both), "vegeta-12.11.1", bands.QUARTER)
    assert "2 s late 36.3%" in said, "what Go answers is not Hyper's"
    assert "As late themselves: Go 51.0% when 2 s late, Node.js 52.0% when 2 s late." in said
    assert "the published shares if Hyper alone was late" in said
    short = attacks(kept("a", 50, {}), kept("b", 90, {}, "go"), kept("c", 100, {}, "node"))
    assert "these are not the published" in published.runner_answer(short, attacks(*both), "vegeta-12.11.1", (0.2, 0.3))


def test_what_later_versions_leave_is_told_and_not_explained() -> None:
    old = kept("a", 50, {"refused on [::1]": 50})
    mended = [kept(name, 99, {"refused on [::1]": 1}) for name in ("b", "b2")]
    for each in mended:
        each["plan_hash"], each["tool"] = "b", each["tool"] | {"name": "vegeta-12.11.3"}
    said = published.left_refused(attacks(old, *mended), "vegeta-12.11.1")
    assert said == "Refused on `[::1]` were also 2 of 200 requests of vegeta-12.11.3 (500 a second). Why is not known."
    assert "no request" in published.left_refused(attacks(old), "vegeta-12.11.1")


def test_a_small_share_is_not_left_out_of_what_failed() -> None:
    assert tell.told({"refused": 0.5, "reset": 0.00002, "timeout": 0.0}) == "refused 50.0%, reset <0.1%"


def test_who_answers_in_no_pulses_is_named_too() -> None:
    once = conditions()
    once["pulses"] = [[1], [1], [1], [3]]
    tried = answer.Tried(once, once, once, "vegeta-12.11.1", bands.QUARTER)
    said = answer.pulses_answer(tried.conditions)
    assert "node in 1 of 1 (g, quarter), hyper-2024 in none of 2, go in none of 1." in said


def test_answers_that_stop_are_told_without_taking_an_explanation_for_a_fact() -> None:
    stopped = attacks(kept("a", 50, {}), kept("b", 100, {}))
    stopped["syns_ipv6"] = 7
    said = published.stuck_answer(stopped)
    assert said.startswith("In 2 of 2 attacks")
    assert "What would explain it" in said
    assert "is not shown" in said


def test_why_a_version_is_lacking_stands_where_it_is_described() -> None:
    assert published.why_lacking([]) == ""
    assert "404" in published.why_lacking(["vegeta-12.11.2"])
    assert "harness.trial.foreign" not in published.why_lacking(["vegeta-12.11.2"])
    assert "harness.trial.foreign" in published.why_lacking(["vegeta-12.11.2", "hey-0.1.5"])


def test_attacks_are_grouped_by_where_servers_listen_and_what_they_are_called() -> None:
    runs = attacks(kept("a", 50, {}), kept("a", 51, {}), kept("b", 50, {}, target="127.0.0.1"), kept("c", 9, {}, "go"))
    runs.loc[runs["server"] == "go", "addresses"] = "::"
    assert published.how_called(runs) == [
        "listening on 127.0.0.1 only, called by name",
        "listening on 127.0.0.1 only, called by address",
        "listening on both addresses, called by name",
    ]


def test_a_title_of_timelines_speaks_of_the_storms_that_are_drawn() -> None:
    drawn = pd.DataFrame({"server": ["a", "b"], "answers_per_step": [[5, 0, 5, 0, 5], [9, 9]]})
    assert published.stretches(drawn) == "a answers its storm in 3 stretches with silence between, b in 1"
    assert published.stretches(drawn.iloc[1:]) == "Each storm is answered in 1 stretch"


@pytest.mark.parametrize(
    "line",
    ["requests = true", "at_once = 10.5", "rate = true", "tool_nofile = 20.0", "late_s = true", "backlog = true"],
)
def test_a_value_of_another_type_is_refused_by_its_name_and_file(line: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f"[base]\n{line}\n")
    with pytest.raises(PlanError, match=rf"{line.split()[0]}.*mine\.toml"):
        load_attacks(tmp_path / "mine.toml")
