"""The benchmark reads what other load generators say as they mean it, and compares whole rounds only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import contenders
import outcome
from contenders import LAB, PYTHON_ENGINE, TOOLS, Said, Tally
from harness.plan import Load
from harness.thought.inference import paired_ratio
from loads import comparisons, paced

CLOSED = Load(clients=2_000, concurrency=100)
WRK = """\
  12571 requests in 1.00s, 1.50MB read
  Socket errors: connect 1, read 2, write 0, timeout 3
  Non-2xx or 3xx responses: 4
Requests/sec:  12567.00
"""
AB = """\
Time taken for tests:   0.187 seconds
Complete requests:      2000
Failed requests:        3
   (Connect: 0, Receive: 0, Length: 3, Exceptions: 0)
Non-2xx responses:      2
"""
H2LOAD = """\
finished in 211.38ms, 9461.50 req/s, 1.20MB/s
requests: 2000 total, 2000 started, 2000 done, 1990 succeeded, 10 failed, 10 errored, 0 timeout
status codes: 1990 2xx, 0 3xx, 0 4xx, 0 5xx
"""
HEY = """\
  Total:	0.6512 secs
Status code distribution:
  [200]	1990 responses
  [503]	4 responses

Error distribution:
  [6]	Get "http://127.0.0.1:8080/": EOF
"""
BOMBARDIER = """\
{"spec":{"numberOfConnections":100},"result":{"bytesRead":1,"timeTakenSeconds":0.5,"req1xx":0,"req2xx":1990,\
"req3xx":0,"req4xx":0,"req5xx":7,"others":3,"errors":[{"description":"EOF","count":3}]}}
"""
OHA = """\
{"summary":{"successRate":1.0,"total":0.5,"requestsPerSec":4000.0},"statusCodeDistribution":{"200":1990,"503":2},\
"errorDistribution":{"aborted due to deadline":5,"connection closed":3}}
"""


@pytest.mark.parametrize(
    ("name", "output", "answered", "failed", "seconds"),
    [
        ("wrk", WRK, 12_567, 10, 1.0),
        ("ab", AB, 1_995, 5, 0.187),
        ("h2load", H2LOAD, 1_990, 10, 0.2103),
        ("hey", HEY, 1_990, 10, 0.6512),
        ("bombardier", BOMBARDIER, 1_990, 10, 0.5),
        ("oha", OHA, 1_990, 5, 0.5),
        (contenders.EPOLL, "1990 10 0.25\n", 1_990, 10, 0.25),
    ],
)
def test_what_a_generator_says_is_read(name: str, output: str, answered: int, failed: int, seconds: float) -> None:
    said = TOOLS[name].read(Said(output, "", Path(), CLOSED))
    assert (said.answered, said.failed) == (answered, failed)
    assert said.seconds == pytest.approx(seconds, rel=1e-3)
    assert said.late_us is None


def test_lateness_counts_from_the_request_that_was_least_late() -> None:
    late = contenders.lateness([10.0, 10.011, 10.020, 10.035], 100.0)
    assert late == pytest.approx((0.0, 0.0, 1_000.0, 5_000.0), abs=1e-3)
    assert contenders.lateness([10.0], None) is None


def test_processes_that_were_started_at_once_are_one_contender() -> None:
    assert contenders.together([Tally(10, 1, 2.0), Tally(20, 0, 3.0)]) == Tally(30, 1, 3.0)


def test_every_generator_has_a_command_for_the_loads_that_it_is_compared_over() -> None:
    for one in comparisons(False):
        one = paced(one, 20_000.0) if one.kind == "open loop" else one
        for contender in one.everyone:
            lines = outcome.commands(one, contender, "native")
            program = "stormlab" if contender in (LAB, PYTHON_ENGINE) else contender.partition(" ")[0]
            assert lines and all(line.startswith(program) for line in lines)


def test_an_open_loop_has_half_of_the_capacity() -> None:
    one = next(one for one in comparisons(False) if one.kind == "open loop")
    found = paced(one, 25_399.0)
    assert found.load.rate == 12_600.0
    assert found.load.planned / 12_600.0 == pytest.approx(1.5, abs=0.01)


def test_the_engine_in_python_drives_fewer_requests_where_it_is_slow() -> None:
    one = next(one for one in comparisons(False) if one.kind == "HTTP/2")
    assert one.load_of(PYTHON_ENGINE).planned < one.load_of("h2load").planned == one.load_of(LAB).planned


def trials(*speeds: float) -> list[dict[str, Any]]:
    return [{"round": number, "speed": speed} for number, speed in enumerate(speeds)]


def test_only_rounds_in_which_both_answered_are_compared() -> None:
    lab, other = (2.0, 2.2, 0.0, 2.1, 1.9, 2.0, 2.3), (1.0, 1.0, 1.0, 0.0, 1.1, 0.9, 1.0)
    found = outcome.ratio(lambda trial: float(trial["speed"]), trials(*lab), trials(*other))
    both = [(one, two) for one, two in zip(lab, other, strict=True) if one and two]
    said = paired_ratio(*zip(*both, strict=True)).ratio
    assert (found["rounds"], found["ratio"], found["low"], found["high"]) == (5, said.value, said.low, said.high)
    assert found["each"] == [one / two for one, two in both]


def test_two_rounds_have_a_ratio_and_no_interval() -> None:
    found = outcome.ratio(lambda trial: float(trial["speed"]), trials(2.0, 8.0), trials(1.0, 1.0))
    assert found["ratio"] == pytest.approx(4.0)
    assert (found["low"], found["high"], found["kind"]) == (None, None, "none")


def test_the_load_of_a_kind_is_the_same_for_one_process_and_for_two() -> None:
    by_kind: dict[str, set[Load]] = {}
    for one in comparisons(False):
        by_kind.setdefault(one.kind, set()).add(replace(one.load))
    assert all(len(found) == 1 for found in by_kind.values())
