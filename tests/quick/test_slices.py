"""Cutting a load: every client in one slice, every connection its own source."""

from __future__ import annotations

import json

import pytest

from harness.errors import MachineError
from harness.plan import Load, Retries
from harness.plan.slices import FIRST_PORT, LAST_PORT, Slice, agents_needed, cut, source_pool


def slices_of(load: Load, agents: int) -> list[Slice]:
    source = source_pool("127.0.0.1", load, [])
    return cut(load, agents, target="127.0.0.1", port=8080, source=source, cpus=(0,), folder="/nowhere")


@pytest.mark.parametrize("agents", [1, 2, 3, 7])
def test_every_client_is_in_exactly_one_slice(agents: int) -> None:
    cuts = slices_of(Load(clients=100, concurrency=10), agents)
    clients = [s.first_client + s.stride * index for s in cuts for index in range(s.clients)]
    assert sorted(clients) == list(range(100))
    assert sum(s.concurrency or 0 for s in cuts) == 10


def test_every_connection_has_a_source_of_its_own() -> None:
    load = Load(clients=120_000)
    pool = source_pool("127.0.0.1", load, [20_000, 30_000])
    pairs = {pool.pair(number) for number in range(load.clients)}
    assert len(pairs) == load.clients
    ports = {port for _, port in pairs}
    assert not ports & {20_000, 30_000}
    assert min(ports) == FIRST_PORT
    assert max(ports) == LAST_PORT
    assert len(pool.addresses) == 3


def test_ipv6_loopback_has_one_address() -> None:
    assert source_pool("::1", Load(clients=50_000), [8080]).addresses == ("::1",)
    with pytest.raises(MachineError, match="60000 connections to ::1 were asked for; its one source address has 55296"):
        source_pool("::1", Load(clients=60_000), [])


@pytest.mark.parametrize(
    ("load", "fits"),
    [
        (Load(clients=60_000, connections=100), True),
        (Load(clients=60_000, connections=100, retries=Retries(attempts=5)), True),
        (Load(clients=50_000, requests_per_client=10), True),
        (Load(clients=50_000, retries=Retries(attempts=5)), False),
        (Load(clients=11_059, retries=Retries(attempts=5)), True),
    ],
    ids=["a pool", "a pool that tries again", "kept", "tried again", "tried again, fewer"],
)
def test_what_one_address_has_to_have_a_port_for_are_connections_not_clients(load: Load, fits: bool) -> None:
    if fits:
        assert len(source_pool("::1", load, [])) == LAST_PORT - FIRST_PORT + 1
    else:
        with pytest.raises(MachineError, match="250000 connections"):
            source_pool("::1", load, [])


def test_a_low_limit_of_open_files_takes_more_agents() -> None:
    assert agents_needed(Load(clients=50_000), 1, 20_000, one_cpu=True) == 3
    assert agents_needed(Load(clients=50_000), 1, 1_024, one_cpu=True) == 53
    assert agents_needed(Load(clients=50_000, concurrency=100), 1, 1_024, one_cpu=True) == 1


def test_too_few_processes_are_refused_with_the_number_that_would_do() -> None:
    with pytest.raises(MachineError) as refused:
        agents_needed(Load(clients=50_000, processes=2), 2, 20_000, one_cpu=False)
    assert "--processes 3" in refused.value.next_step


def test_many_cpus_get_more_agents_but_never_more_than_clients() -> None:
    assert agents_needed(Load(clients=10), 16, 20_000, one_cpu=False) == 8
    assert agents_needed(Load(clients=3), 16, 20_000, one_cpu=False) == 3
    assert agents_needed(Load(clients=10), 16, 20_000, one_cpu=True) == 1


def test_an_open_loop_needs_no_more_than_its_rate_can_have_under_way() -> None:
    assert agents_needed(Load(clients=600_000, rate=1000.0), 1, 20_000, one_cpu=True) == 1


def test_a_slice_survives_json() -> None:
    (slice_,) = slices_of(Load(clients=5, rate=7.0), 1)
    assert Slice.from_json(json.loads(json.dumps(slice_.to_json()))) == slice_
