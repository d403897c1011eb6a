"""Load balancers in a plan, their configurations, and what their own counters say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.errors import PlanError
from harness.plan import Front, Trial, trial_from_options
from harness.servers.front import haproxy, nginx
from harness.servers.front.hops import Hops
from harness.thought import runs as results

HOPS = Hops("127.0.0.1", 8080, 8081, "stormlab-x")


@pytest.mark.parametrize(
    "options",
    [
        {"front": "squid"},
        {"front_rate": 10},
        {"front_reuse": True},
        {"front": "nginx", "front_server_maxconn": 5, "front_queue_s": 1.0},
        {"front": "haproxy", "front_queue_s": 1.0},
        {"front": "haproxy", "front_server_maxconn": 5, "front_queue_s": 0.0},
        {"front": "haproxy", "front_rate": 10, "front_rate_status": 404},
        {"front": "haproxy", "front_rate_status": 503},
        {"front": "haproxy", "front_maxconn": 0},
        {"front": "haproxy", "front_backlog": -1},
        {"front": "haproxy", "front_rate": "many"},
        {"front": "haproxy", "front_rate": 1.4},
        {"front": "haproxy", "front_reuse": "off"},
        {"front": "haproxy", "connections": 2, "http2": True},
    ],
    ids=str,
)
def test_what_means_nothing_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(PlanError):
        trial_from_options(options)


def test_a_front_is_part_of_the_plan_and_changes_no_other() -> None:
    plain = trial_from_options({"clients": 7})
    asked = trial_from_options({"clients": 7, "front": "haproxy", "front_rate": 100, "front_reuse": True})
    assert asked.front == Front("haproxy", rate=100, reuse=True)
    assert asked.plan_hash != plain.plan_hash
    assert Trial.from_json(json.loads(json.dumps(asked.to_json()))) == asked
    older = json.loads(json.dumps(plain.to_json()))
    del older["front"]
    assert Trial.from_json(older) == plain
    assert trial_from_options({"clients": 7, "front": "none"}).plan_hash == plain.plan_hash


def test_options_of_the_front_are_read_off_plans_old_and_new() -> None:
    plain, asked = (trial_from_options(options).to_json() for options in ({}, {"front": "nginx", "front_maxconn": 9}))
    del plain["front"]
    runs = results.pd.DataFrame({"plan": [plain, asked]})
    found = results.with_options(runs, "front", "front_maxconn")
    assert found["front"].tolist() == ["none", "nginx"]
    assert found["front_maxconn"].tolist()[1] == 9


def test_haproxy_is_configured_with_what_was_asked_for_and_no_more() -> None:
    plain = haproxy.configuration(Front("haproxy"), HOPS)
    assert "bind 127.0.0.1:8080\n" in plain
    assert "server server 127.0.0.1:8081\n" in plain
    for word in ("maxconn", "backlog", "http-reuse", "deny", "nbthread"):
        assert word not in plain
    assert "timeout queue 60000ms\n" in plain, "else it is that of connect"
    front = Front("haproxy", 30, 50, 2, server_maxconn=5, queue_s=0.25, reuse=True, rate=100, rate_status=503)
    text = haproxy.configuration(front, HOPS)
    for line in (
        "bind 127.0.0.1:8080 backlog 30",
        "nbthread 2",
        "    maxconn 50",
        "server server 127.0.0.1:8081 maxconn 5",
        "timeout queue 250ms",
        "http-reuse always",
        "deny deny_status 503 if { sc0_gpc0_rate ge 100 }",
    ):
        assert line + "\n" in text, line
    assert text.index("deny") < text.index("sc-inc-gpc0"), "what is turned away is not counted"


def test_nginx_is_configured_with_what_was_asked_for_and_no_more() -> None:
    plain = nginx.configuration(Front("nginx"), HOPS)
    assert "listen 127.0.0.1:8080;" in plain
    assert "server 127.0.0.1:8081;" in plain
    unasked = ("worker_connections", "backlog", "keepalive", "limit_req", "max_conns", "proxy_http_version", "rlimit")
    for word in unasked:
        assert word not in plain
    front = Front("nginx", 30, 50, 2, server_maxconn=5, reuse=True, rate=100, rate_status=503)
    text = nginx.configuration(front, HOPS)
    for line in (
        "listen 127.0.0.1:8080 backlog=30;",
        "worker_processes 2;",
        "worker_connections 50;",
        "worker_rlimit_nofile 114;",
        "server 127.0.0.1:8081 max_conns=5;",
        "keepalive 128;",
        "rate=100r/s;",
        "limit_req_status 503;",
    ):
        assert line in text, line


def test_addresses_of_the_other_family_are_bracketed() -> None:
    hops = Hops("::1", 8080, 8081, "stormlab-x")
    assert "bind [::1]:8080" in haproxy.configuration(Front("haproxy"), hops)
    assert "listen [::1]:8080" in nginx.configuration(Front("nginx"), hops)


def test_what_a_server_stamps_is_not_passed_on() -> None:
    """It is when the server accepted the balancer's connection, which may have been before the client's began."""
    assert "del-header X-Accept-Ns" in haproxy.configuration(Front("haproxy"), HOPS)
    assert "proxy_hide_header X-Accept-Ns" in nginx.configuration(Front("nginx"), HOPS)


def test_haproxys_counters_are_read_by_its_own_names() -> None:
    text = (
        "# pxname,svname,qcur,qmax,scur,stot,dreq,status,\n"
        "clients,FRONTEND,,,0,400,273,OPEN,\n"
        "servers,server,0,7,0,127,,no check,\n"
        "servers,BACKEND,0,9,0,127,0,UP,\n"
        "other,FRONTEND,,,0,1,1,OPEN,\n\n"
    )
    found = haproxy.parse(text)
    assert found["frontend.stot"] == 400
    assert found["frontend.dreq"] == 273
    assert (found["server.qmax"], found["backend.qmax"]) == (7, 9)
    assert not any(name.startswith("other") for name in found)
    assert haproxy.parse("") == {}


def test_nginxs_counters_are_those_of_stub_status(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "HTTP/1.1 200 OK\r\n\r\nActive connections: 3 \nserver accepts handled requests\n"
        " 104 103 105 \nReading: 0 Writing: 1 Waiting: 2 \n"
    )
    now = nginx.parse(said)
    assert now == {"active": 3, "accepts": 104, "handled": 103, "requests": 105}
    assert nginx.parse("HTTP/1.1 500\r\n\r\n") == {}
    monkeypatch.setattr(nginx, "_ask", lambda hops: now)
    since = nginx.counted(HOPS, {"active": 1, "accepts": 3, "handled": 3, "requests": 4})
    assert since == {"active": 3, "accepts": 100, "handled": 99, "requests": 100}, "the question is not counted"


def test_versions_are_what_the_programs_say() -> None:
    assert haproxy.version("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/\n") == "2.6.12-1+deb12u4"
    assert nginx.version("nginx version: nginx/1.22.1\n") == "1.22.1"
    assert Path(haproxy.command("haproxy", Path("c"), Path("f"))[-1]) == Path("c")
