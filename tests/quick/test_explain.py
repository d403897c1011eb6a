"""What would mend a run, and its story: each remedy belongs to a cause or a driver that was there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from harness.events import store
from harness.events.store import Run
from harness.plan import Load, Trial
from harness.thought.cause import CAUSES
from harness.thought.episodes import Episode
from harness.thought.explain import explain
from harness.thought.phases import PHASES
from harness.thought.remedies import Facts, Remedy, held_for_the_gone, remedies
from harness.thought.room import most_waiting
from harness.thought.standstills import Standstill
from harness.thought.summary import Summary
from tests.tables import Row, answered, connections, never_established, not_issued, queue, samples, unanswered

S = 1_000_000
FACTS = Facts(
    backlog=128,
    somaxconn=4_096,
    most_waiting=2_000,
    target="127.0.0.1",
    log="server.log",
    idle="the server was stalled meanwhile",
    has_ledger=True,
    capacity_per_s=10_000,
    idle_s=1,
)


def took(**connections: int) -> dict[str, int]:
    return {**dict.fromkeys(CAUSES, 0), **connections}


def episode(driver: str, overflows: int = 100, begin_ms: int = 0, end_ms: int = 500) -> Episode:
    return Episode(begin_ms * 1000, end_ms * 1000, driver, "its numbers", 129, overflows, 0.5, 0.5)


def changes(found: Sequence[Remedy]) -> str:
    return " | ".join(remedy.change for remedy in found)


# ---- remedies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cause", "word"),
    [
        ("input_queue_dropped", "net.core.netdev_max_backlog"),
        ("path_loss", "between client and server"),
        ("client_late", "--processes"),
        ("client_out_of_files", "open files"),
        ("client_out_of_ports", "ip_local_port_range"),
        ("refused", "listen"),
        ("reset", "log"),
        ("closed_early", "log"),
        ("bad_answer", "log"),
        ("never_accepted", "accept"),
        ("slow_accept", "accept faster"),
        ("slow_answer", "handler"),
        ("unknown", "evidence"),
    ],
)
def test_each_cause_has_its_remedy(cause: str, word: str) -> None:
    (remedy,) = remedies(took(clean=10, **{cause: 7}), [], FACTS)
    assert word in remedy.change
    assert remedy.because
    assert remedy.connections == 7


def test_a_server_that_ended_without_files_needs_more_of_them_whatever_its_clients_saw() -> None:
    facts = replace(FACTS, ended=True, out_of_files_first=True)
    found = remedies(took(reset=7, refused=5, closed_early=2, bad_answer=1), [], facts)
    assert [remedy.connections for remedy in found] == [14, 1]
    assert "--nofile" in found[0].change
    assert "--nofile" not in changes(remedies(took(reset=7, refused=5, closed_early=2), [], FACTS))


def test_a_server_that_crashed_is_not_started_again_but_looked_into() -> None:
    facts = replace(FACTS, ended=True, last_words="panicked at 'index out of bounds'")
    (remedy,) = remedies(took(reset=7, refused=5), [], facts)
    assert "find why the server ended" in remedy.change
    assert "index out of bounds" in remedy.because


def test_a_server_that_lives_and_no_longer_listens_is_looked_into_too() -> None:
    """The process that listened was a child of the one that goes on."""
    facts = replace(FACTS, stopped_listening=True, last_words="RuntimeError: boom")
    (remedy,) = remedies(took(refused=5), [], facts)
    assert "find why the server stopped listening" in remedy.change
    assert "RuntimeError: boom" in remedy.because


@pytest.mark.parametrize("cause", ["reset", "closed_early", "bad_answer"])
def test_what_its_log_says_last_is_shown(cause: str) -> None:
    (remedy,) = remedies(took(**{cause: 5}), [], replace(FACTS, last_words="RuntimeError: boom"))
    assert remedy.because.endswith("server.log, which ends: RuntimeError: boom")


@pytest.mark.parametrize("cause", ["unknown", "never_accepted"])
def test_of_several_queues_it_is_said_how_many_lay_in_the_deepest(cause: str) -> None:
    (remedy,) = remedies(took(**{cause: 736}), [], replace(FACTS, deepest_queues=(1, 0, 737, 2)))
    assert "of its 4 queues the deepest held 737" in remedy.because
    assert "causes.parquet" not in remedy.because


@pytest.mark.parametrize("cause", ["syn_dropped", "ghost"])
@pytest.mark.parametrize(
    ("driver", "word"),
    [
        ("stalled", "stops the server"),
        ("cpu_starved", "--cpu disjoint"),
        ("out_of_files", "--nofile"),
        ("accept_bound", "accept faster"),
    ],
)
def test_a_full_queue_is_mended_by_what_drove_it(cause: str, driver: str, word: str) -> None:
    found = remedies(took(**{cause: 50}), [episode(driver)], replace(FACTS, most_waiting=100))
    assert word in changes(found)
    assert [remedy.connections for remedy in found] == [50]


def test_a_driver_that_nobody_knows_has_no_remedy() -> None:
    assert remedies(took(syn_dropped=50), [episode("unknown")], replace(FACTS, most_waiting=100)) == []


def test_room_for_all_is_one_less_than_were_waiting() -> None:
    """A queue with backlog B holds B + 1."""
    (remedy,) = remedies(took(syn_dropped=50), [], replace(FACTS, most_waiting=2_000))
    assert "1,999" in remedy.change
    assert "somaxconn" not in remedy.change, "it is large enough already"
    assert remedies(took(syn_dropped=50), [], replace(FACTS, most_waiting=129)) == []


def test_no_more_room_where_the_queue_was_never_empty() -> None:
    """A handler that waits 20 ms in the thread that accepts answers 49 a second, whatever waits."""
    waiting = replace(FACTS, most_waiting=2_869, capacity_per_s=49)
    assert remedies(took(syn_dropped=2_000), [], replace(waiting, idle_s=0)) == []
    assert remedies(took(syn_dropped=2_000), [], replace(waiting, idle_s=0.8)) == [], "39 of 2,000"
    (remedy,) = remedies(took(syn_dropped=2_000), [], replace(waiting, idle_s=8))
    assert "520 holds what it had the time for" in remedy.change
    assert "392 of the 2,000" in remedy.because
    (all_of_them,) = remedies(took(syn_dropped=2_800), [], replace(waiting, capacity_per_s=5_000))
    assert "2,868 has room for all" in all_of_them.change


def test_no_verdict_on_a_backlog_where_this_host_lost_packets_or_nothing_was_answered() -> None:
    assert remedies(took(syn_dropped=50), [], replace(FACTS, input_queue_dropped=True)) == []
    assert remedies(took(syn_dropped=50), [], replace(FACTS, capacity_per_s=0)) == []


def test_more_room_comes_after_what_empties_the_queue() -> None:
    found = remedies(took(syn_dropped=50), [episode("stalled", 40), episode("unknown", 10)], FACTS)
    assert ["stops the server" in found[0].change, "a larger backlog" in found[1].change] == [True, True]


def test_what_is_slow_without_a_drop_has_its_remedy_too() -> None:
    still = Standstill(0, 2_500_000, 1_000, "stalled", "0.00 CPUs used, asleep")
    (remedy,) = remedies(took(clean=1_000), [], replace(FACTS, standstills=[still]))
    assert "stops the server" in remedy.change
    assert "2,500 ms" in remedy.because
    assert remedy.connections == 1_000


def test_a_few_late_connections_are_no_reason_to_change_anything() -> None:
    assert remedies(took(clean=1_000, client_late=5), [], FACTS) == []
    assert remedies(took(clean=400, client_late=36), [], replace(FACTS, generator_ok=True)) == []
    assert remedies(took(unknown=5), [], replace(FACTS, not_issued=5)) == [], "they never left"


def test_a_backlog_beyond_somaxconn_needs_that_too() -> None:
    (remedy,) = remedies(took(ghost=50), [], replace(FACTS, most_waiting=20_000))
    assert "net.core.somaxconn" in remedy.change
    assert "4,096" in remedy.change or "4096" in remedy.change


def test_a_backlog_that_is_not_known_is_not_raised() -> None:
    assert remedies(took(syn_dropped=50), [], replace(FACTS, backlog=None)) == []


def test_the_largest_comes_first() -> None:
    causes = took(clean=5, client_late=3, path_loss=900, slow_answer=40, syn_dropped=300, unknown=1)
    found = remedies(causes, [episode("stalled", 10), episode("accept_bound", 90, 600, 900)], FACTS)
    numbers = [remedy.connections for remedy in found if "backlog" not in remedy.change]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == 900
    assert "accept faster" in changes(found[:3]), "it drove nine of ten drops"
    assert {remedy.connections for remedy in found if "stops" in remedy.change} == {30}


def test_cpus_of_its_own_are_promised_with_what_they_can_give_at_best() -> None:
    """It ran half of the time that it was ready to; what its clients lose by it, nobody knows beforehand."""
    starved = replace(episode("cpu_starved"), running=0.25, waiting_for_cpu=0.5)
    longer = replace(episode("cpu_starved", begin_ms=600, end_ms=2_100), running=0.25, waiting_for_cpu=0.0)
    (remedy,) = remedies(took(syn_dropped=50), [starved], replace(FACTS, most_waiting=100))
    assert "at best 3 times as fast" in remedy.because
    assert "is to be measured" in remedy.change
    (remedy,) = remedies(took(syn_dropped=50), [starved, longer], replace(FACTS, most_waiting=100))
    assert "at best 1.5 times as fast" in remedy.because, "the longer one counts for more"


@pytest.mark.parametrize(("cpus_of_its_own", "says"), [(False, True), (True, False)])
def test_a_late_generator_is_not_sent_where_it_is(cpus_of_its_own: bool, says: bool) -> None:
    (remedy,) = remedies(took(client_late=50), [], replace(FACTS, has_cpus_of_its_own=cpus_of_its_own))
    assert ("--cpu disjoint" in remedy.change) == says
    assert "--processes" in remedy.change


def test_a_generator_that_was_stopped_is_not_told_to_be_more() -> None:
    because = "an agent stood still for 704 ms, while connections waited for it"
    (remedy,) = remedies(took(client_late=50), [], replace(FACTS, agent_stood_still=because))
    assert remedy.because == because
    assert "--processes" not in remedy.change


def test_where_all_is_clean_there_is_nothing_to_mend() -> None:
    assert remedies(took(clean=50_000), [], FACTS) == []
    assert remedies(took(clean=50_000), [episode("accept_bound")], FACTS) == [], "nobody was hurt by a full queue"


def test_more_evidence_is_the_ledger_where_there_was_none() -> None:
    (remedy,) = remedies(took(unknown=5), [], replace(FACTS, has_ledger=False))
    assert "nftables" in remedy.because
    (remedy,) = remedies(took(unknown=5), [], FACTS)
    assert "nftables" not in remedy.because


def test_most_waiting_counts_those_that_were_not_yet_accepted() -> None:
    """Three at once: a fourth comes when one has been accepted; what was never issued waits for nothing."""
    rows = connections(*(answered(issued_us=us) for us in (0, 100, 200, 1_000)), not_issued())
    waits = {"syn_wait_us": [10, 10, 10, 10, None], "ghost_wait_us": [0, 0, 50, 0, None]}
    waits |= {"queue_wait_us": [490, 890, 890, 90, None]}
    table = pa.table({name: pa.array(waits.get(name, [0, 0, 0, 0, None]), pa.int64()) for name in PHASES})
    assert most_waiting(rows, table) == 3


def test_no_larger_backlog_where_the_queue_holds_what_was_given_up_and_tried_again() -> None:
    """Who stands behind what was given up waits longer still."""
    causes, facts = took(syn_dropped=50, never_accepted=100), replace(FACTS, queued=129, given_up=100)
    assert "a larger backlog than" in changes(remedies(causes, [], facts)), "nobody tried again"
    storm = changes(remedies(causes, [], replace(facts, tried_again=900)))
    assert "a larger backlog than" not in storm
    assert "--backoff-ms" in storm
    assert "--retry-budget" in storm
    (retries,) = [one for one in remedies(causes, [], replace(facts, tried_again=900)) if "--jitter" in one.change]
    assert retries.connections == 900, "each attempt that was made again"
    assert "100 of 129" in retries.because
    assert "900" in retries.because


def test_a_larger_backlog_where_most_of_what_the_queue_held_was_answered() -> None:
    facts = replace(FACTS, tried_again=900, queued=129, given_up=60)
    (remedy,) = remedies(took(syn_dropped=50), [], facts)
    assert "a larger backlog than" in remedy.change
    (remedy,) = remedies(took(syn_dropped=50), [], replace(facts, queued=0, given_up=0))
    assert "a larger backlog than" in remedy.change


def test_what_a_full_queue_holds_for_the_gone_is_what_no_client_waits_for() -> None:
    """129 in it, as sampled; of these two wait, as the rows say. Later episodes with fewer drops do not count."""
    waits = unanswered(established_us=300_000, closed_us=900_000)
    accepted_later = answered(established_us=310_000, accepted_us=600_000, closed_us=610_000)
    given_up = unanswered(established_us=200_000, closed_us=450_000)
    others = (answered(), answered(established_us=501_000, closed_us=900_000), never_established())
    rows = connections(waits, accepted_later, given_up, *others)
    full = episode("stalled", 100, begin_ms=250, end_ms=500)
    assert held_for_the_gone(rows, [full]) == (129, 127)
    assert held_for_the_gone(rows, [full, episode("accept_bound", 10, begin_ms=700, end_ms=800)]) == (129, 127)
    assert held_for_the_gone(connections(*[waits] * 140), [full]) == (129, 0), "ghosts wait too, and are not in it"
    assert held_for_the_gone(rows, []) == (0, 0)


# ---- the story ---------------------------------------------------------------------------------------------------


def run_of(folder: Path, table: pa.Table, seen: pa.Table | None, planned: int, **manifest: Any) -> Summary:
    """A run as it lies on disk."""
    agent = {"cpu_user_s": 1.0, "cpu_system_s": 1.0, "ran_s": 10.0, "waited_s": 9.0, "late_us": [[100, 50]]}
    document = {
        "status": "complete",
        "plan": Trial(load=Load(clients=planned)).to_json(),
        "plan_hash": "p",
        "host": {"host_id": "h", "cpus": 2},
        "server": {"name": "python", "accept_stamp": "handed_over", "backlog_effective": 128},
        "kernel": {"sysctls": {"net.core.somaxconn": "4096"}, "counters": {"ListenOverflows": 9, "lo_rx_dropped": 0}},
        "target_address": "127.0.0.1",
        "agents": [agent],
        "agents_planned": 1,
        "cpu": {"clients": [0]},
        **manifest,
    }
    folder.mkdir()
    (folder / store.MANIFEST).write_text(json.dumps(document))
    store.write_table(table, folder / store.CONNECTIONS)
    if seen is not None:
        store.write_table(seen, folder / store.SAMPLES)
    return Summary(Run(folder, document))


MIXED = [answered() for _ in range(6)] + [never_established() for _ in range(3)] + [unanswered()]


def test_the_story_of_a_run(tmp_path: Path) -> None:
    seen = samples(*queue((0, 12_000, 1)))
    story = explain(run_of(tmp_path / "r", connections(*MIXED), seen, 10))
    assert json.loads(json.dumps(story)) == story
    assert [(row["cause"], row["connections"]) for row in story["causes"]][:2] == [("clean", 6), ("syn_dropped", 3)]
    assert sum(row["connections"] for row in story["causes"]) == story["planned"] == 10
    assert {row["cause"]: row["answered"] for row in story["causes"]}["syn_dropped"] == 0
    assert sum(story["outcomes"].values()) == 10
    assert sum(story["phases_share"].values()) == pytest.approx(1, abs=0.001)
    assert story["evidence"] == {"accept": "handed_over", "syn": "ledger"}
    assert story["syns"] == {"left": 16, "arrived": 16, "lost_before_tcp": 0, "synacks_sent": 7}
    assert story["remedies"]


FRONT = {"name": "nginx", "backlog_effective": 128, "listeners": 1, "ended": None}
SAYS_SO = "accept4() failed (24: Too many open files)\n"


@pytest.mark.parametrize(
    ("manifest", "log", "driver"),
    [
        ({}, store.SERVER_LOG, "out_of_files"),
        ({"front": FRONT}, store.SERVER_LOG, "stalled"),
        ({"front": FRONT}, store.FRONT_LOG, "out_of_files"),
    ],
)
def test_the_log_that_counts_is_of_the_one_whose_queue_was_full(
    tmp_path: Path, manifest: dict[str, Any], log: str, driver: str
) -> None:
    """With a load balancer that is its own: the server behind it may run out of files while nobody waits for it."""
    asleep = {"server_cpu_us": 500, "server_wait_us": 100, "server_threads": 4, "server_threads_stopped": 0}
    seen = samples(*({**row, **asleep} for row in queue((0, 95, 0), (100, 900, 129), (905, 1_200, 0))))
    summary = run_of(tmp_path / "r", connections(*MIXED), seen, 10, **manifest)
    (tmp_path / "r" / log).write_text(SAYS_SO)
    assert [episode.driver for episode in summary.episodes] == [driver]


@pytest.mark.parametrize("log", [store.SERVER_LOG, store.FRONT_LOG])
def test_a_load_balancer_that_ended_is_not_the_server_that_ended(tmp_path: Path, log: str) -> None:
    error = {"code": 4, "message": "nginx ended during the storm: exit status 1", "next_step": ""}
    front = {**FRONT, "ended": "exit status 1"}
    refused = [unanswered(outcome="refused", established_us=None, closed_us=1_100)] * 4
    summary = run_of(
        tmp_path / "r", connections(*MIXED[:6], *refused), None, 10, status="failed", error=error, front=front
    )
    (tmp_path / "r" / log).write_text(SAYS_SO)
    (remedy,) = explain(summary)["remedies"]
    assert ("the load balancer's limit of open files" in remedy["change"]) == (log == store.FRONT_LOG)
    assert "--nofile" not in remedy["change"], "which is the server's"


@pytest.mark.parametrize(("isolated", "opened"), [(True, 3), (False, None)])
def test_what_a_load_balancer_opened_is_known_where_no_other_program_opens_any(
    tmp_path: Path, isolated: bool, opened: int | None
) -> None:
    kernel = {"isolated": isolated, "counters": {"ActiveOpens": 13}}
    summary = run_of(tmp_path / "r", connections(*MIXED), None, 10, front=FRONT, kernel=kernel)
    assert summary.connections_to_server == opened


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([answered(), unanswered(outcome="refused", established_us=None, errno=111, closed_us=9_000)], True),
        ([unanswered(outcome="refused", established_us=None, errno=111, closed_us=1_050), answered()], False),
        ([unanswered(outcome="refused", established_us=None, errno=111, closed_us=1_050)], False),
    ],
    ids=["after others were established", "before", "nobody ever was"],
)
def test_who_no_longer_listened_is_told_from_who_never_did(tmp_path: Path, rows: list[Row], says: bool) -> None:
    (remedy,) = explain(run_of(tmp_path / "r", connections(*rows), None, len(rows)))["remedies"]
    assert ("stopped listening" in remedy["change"]) == says
    assert ("start a listener there" in remedy["change"]) != says


def test_failed_checks_come_first_and_doubtful_ones_next(tmp_path: Path) -> None:
    """A row is missing: conservation fails, whatever the others say."""
    story = explain(run_of(tmp_path / "r", connections(*MIXED), None, 11))
    statuses = [check["status"] for check in story["checks"]]
    assert statuses == sorted(statuses, key=["fail", "unknown", "pass"].index)
    assert story["checks"][0]["name"] == "conservation"
    assert story["checks"][0]["status"] == "fail"


def test_a_calm_run_has_a_short_story(tmp_path: Path) -> None:
    seen = samples(*queue((0, 100, 0)))
    story = explain(run_of(tmp_path / "r", connections(*[answered()] * 20), seen, 20))
    assert [row["cause"] for row in story["causes"]] == ["clean"]
    assert story["episodes"] == story["remedies"] == []


@pytest.mark.parametrize("with_samples", [True, False])
def test_a_run_in_which_nothing_was_issued_has_a_story_too(tmp_path: Path, with_samples: bool) -> None:
    error = {"code": 4, "message": "the server ended", "next_step": "see its log"}
    seen = samples(*queue((0, 100, None))) if with_samples else None
    table = connections(*(not_issued() for _ in range(5)))
    story = explain(run_of(tmp_path / "r", table, seen, 5, status="failed", error=error))
    assert story["error"] == error
    assert [(row["cause"], row["connections"]) for row in story["causes"]] == [("unknown", 5)]


def test_what_was_thought_is_kept_beside_the_record_and_thought_again_if_need_be(tmp_path: Path) -> None:
    summary = run_of(tmp_path / "r", connections(*MIXED), None, 10)
    first, kept = summary.causes, tmp_path / "r" / store.CAUSES
    assert kept.is_file()
    for damage in (b"", b"PAR1", kept.read_bytes()[:-9], bytes(range(256)) * 20):
        kept.write_bytes(damage)
        assert Summary(summary.run).causes.equals(first)
        assert store.read_table(kept).cast(first.schema).equals(first), "made again"
    kept.unlink()
    assert Summary(summary.run).causes.equals(first)


@pytest.mark.parametrize(
    "error", [OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError], ids=lambda error: error.__name__
)
def test_damage_is_mended_whatever_the_reader_calls_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    """A flipped bit may read as a type that nobody has implemented."""
    summary = run_of(tmp_path / "r", connections(*MIXED), None, 10)
    first, read = summary.causes, store.read_table

    def damaged(path: Path) -> pa.Table:
        if path.name == store.CAUSES:
            raise error("damaged")
        return read(path)

    monkeypatch.setattr(store, "read_table", damaged)
    assert Summary(summary.run).causes.equals(first)


@pytest.mark.parametrize("version", ["0", "999"])
def test_thoughts_by_other_rules_are_thought_again(tmp_path: Path, version: str) -> None:
    summary = run_of(tmp_path / "r", connections(*MIXED), None, 10)
    kept = tmp_path / "r" / store.CAUSES
    others = summary.causes.slice(0, 0)
    wrong = pa.Table.from_pylist(
        [{**row, "cause": "ghost"} for row in summary.causes.to_pylist()], schema=others.schema
    ).replace_schema_metadata({"rules_version": version})
    store.write_table(wrong, kept)
    assert Summary(summary.run).causes.equals(summary.causes)
    assert (store.read_table(kept).schema.metadata or {})[store.VERSION_KEY] != version.encode()


def test_nothing_is_written_beside_committed_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "REFERENCE", tmp_path)
    summary = run_of(tmp_path / "r", connections(*MIXED), None, 10)
    assert len(summary.causes) == 10
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [store.CONNECTIONS, store.MANIFEST]
    around = Run(tmp_path / "r" / ".." / "r", summary.run.manifest)
    assert len(Summary(around).causes) == 10
    assert not (tmp_path / "r" / store.CAUSES).exists()


def test_of_an_episode_the_story_tells_what_scripts_rely_on(tmp_path: Path) -> None:
    """What is only decided by stays inside."""
    seen = samples(*queue((0, 95, 0), (100, 900, 129), (905, 1_200, 0)))
    (told,) = explain(run_of(tmp_path / "r", connections(*MIXED), seen, 10))["episodes"]
    assert list(told) == [
        "begin_us",
        "end_us",
        "driver",
        "because",
        "deepest",
        "overflows",
        "running",
        "waiting_for_cpu",
        "duration_ms",
    ]
