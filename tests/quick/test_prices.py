"""When each mitigation backfires, from storms that were made for it; other storms give other rows."""

from __future__ import annotations

import dataclasses
from typing import Any

import pandas as pd

from analysis.mitigations.prices import Troubles, prices
from analysis.mitigations.ways import compared, endings
from tests.mitigated import PLAIN, storm, with_front

HAPROXY = {"front": "haproxy"}
WAYS: dict[str, dict[str, Any]] = {
    "backlog": {"backlog": 4096},
    "pool": {"connections": 5},
    "HTTP/2": {"connections": 5, "http2": True},
    "retries": {"attempts": 4},
    "hands": {"accept_loops": 2, "reuseport": True},
    "HAProxy": HAPROXY,
    "backlog and HAProxy": {"backlog": 4096, **HAPROXY},
}
HELD = {"hold_ms": 1_000, "hold_at_s": 1.0, "rate": 50.0}


def made(name: str, **columns: Any) -> dict[str, object]:
    options = WAYS.get(name, {}) | columns.pop("options", {})
    return (with_front if "front" in options else storm)(name, options=options, **columns)


def weighed(**p99_ms: float) -> pd.DataFrame:
    """Five storms of each way, all with a p99 of 100 ms unless something else is said."""
    names = [PLAIN, *WAYS]
    rows = [made(name, wanted_p99_ms=p99_ms.get(name, 100.0)) for name in names for _ in range(5)]
    return endings(pd.DataFrame(rows))


def troubles() -> Troubles:
    few = {"answered": 10, "answer_timeout": 90}
    held = [
        made("pool", slow=1, options=HELD),
        made("HTTP/2", slow=77, options=HELD),
        made("HTTP/2", slow=99, options={"rate": 50.0}) | {"variant": "nothing held"},
    ]
    return Troubles(
        files=pd.DataFrame([made(PLAIN), made("backlog"), made("backlog and HAProxy")]).assign(
            server_ended=[None, "exit status 1", None]
        ),
        halted=pd.DataFrame([made(PLAIN, slow=100), made("hands", slow=48)]),
        held=pd.DataFrame(held),
        retries=pd.DataFrame([made("retries") | {"variant": "at once"}, made("retries")]).assign(
            kept_down=[True, False]
        ),
        overload=endings(pd.DataFrame([made("server alone"), made("HAProxy", outcomes=few)])),
        everywhere=pd.DataFrame([made("HAProxy")]),
        alone="server alone",
    )


def rows(runs: pd.DataFrame, of: Troubles) -> dict[str, dict[str, str]]:
    return prices(runs, compared(runs, PLAIN), of).set_index("mitigation").to_dict("index")


def test_each_mitigation_backfires_by_what_was_made_for_it() -> None:
    found = {name: row["backfires when"] for name, row in rows(weighed(), troubles()).items()}
    assert found["backlog"] == "100 clients come, more than files: go ended in 1 of 1 storms with *backlog*"
    assert found["pool"] == "a connection stalls: 1 of 100 requests waited with *pool* (go)"
    assert found["HTTP/2"] == "a connection stalls: 77 of 100 requests waited with *HTTP/2* (go)", (
        "not where none was held"
    )
    assert found["retries"].startswith("clients try again *at once* instead: goodput stayed low for 30 s")
    assert found["retries"].endswith("in every storm (go)")
    assert "48 of 100 on go with *hands*" in found["hands"]
    overload = "more is asked than the server can do: goodput × 0.1 with *HAProxy*, 0% turned away, 90% timed out (go)"
    assert found["HAProxy"] == overload
    assert found["backlog and HAProxy"] == overload, "before a load balancer the server has files enough"


def test_of_several_stalled_ways_the_one_with_as_many_connections_is_told() -> None:
    fewer = {"options": HELD | {"connections": 1}}
    worse = made("HTTP/2", slow=99, **fewer) | {"variant": "HTTP/2 over 1"}
    of = troubles()
    held = pd.concat([of.held, pd.DataFrame([worse])], ignore_index=True)
    found = rows(weighed(), dataclasses.replace(of, held=held))["HTTP/2"]["backfires when"]
    assert found.endswith("77 of 100 requests waited with *HTTP/2* (go)")
    only_worse = rows(weighed(), dataclasses.replace(of, held=pd.DataFrame([worse])))["HTTP/2"]["backfires when"]
    assert "99 of 100 requests waited with *HTTP/2 over 1*" in only_worse


def test_connections_that_nginx_lacked_on_any_ground_are_told() -> None:
    counted = {"accepts": 100, "handled": 85}
    full = made("HAProxy", options={"front": "nginx"}, front="nginx", front_counters=counted, lo_rx_dropped=1)
    said = rows(weighed(), dataclasses.replace(troubles(), everywhere=pd.DataFrame([full])))["HAProxy"]
    assert "nginx ran out of `worker_connections`" in said["backfires when"]


def test_where_trouble_did_nothing_nothing_is_said() -> None:
    of = troubles()
    harmless = dataclasses.replace(
        of,
        files=of.files.assign(server_ended=None),
        halted=of.halted.assign(slow=0),
        held=of.held.assign(slow=0),
        retries=of.retries.assign(kept_down=False),
        overload=of.overload.assign(good_per_s=50.0),
    )
    assert {row["backfires when"] for row in rows(weighed(), harmless).values()} == {"nothing of that was seen"}


def test_what_it_brings_costs_and_worsens_in_the_storm_itself() -> None:
    runs = weighed(pool=5.0, HAProxy=300.0)
    found = rows(runs, troubles())
    assert found["pool"]["brings"] == "p99 × 0.05"
    assert found["pool"]["costs"] == "–"
    assert found["HAProxy"]["costs"] == "CPU per answer × 2.5, memory × 1.5"
    assert found["HAProxy"]["backfires when"].startswith("in this storm: p99 × 3; more is asked")
    two = pd.concat([runs, weighed(pool=20.0).assign(server="hyper")])
    assert rows(two, troubles())["pool"]["brings"] == "p99 × 0.05 to 0.2"
    assert rows(two, troubles())["HAProxy"]["backfires when"].startswith("in this storm: p99 × 3 (go); ")


def test_a_trade_off_is_called_so() -> None:
    runs = weighed(HAProxy=50.0)
    runs.loc[runs["variant"] == "HAProxy", "wanted_p50_ms"] = 30.0
    said = rows(runs, troubles())["HAProxy"]["backfires when"]
    assert said.startswith(
        "in this storm it is a trade-off on go: it helps the tail, costs the median (p99 × 0.5, p50 × 3); more is asked"
    )
