"""What other generators say, read from their own words: texts as they print them."""

from __future__ import annotations

import pytest

from harness.thought import said
from harness.trial.foreign import tools

VEGETA = """\
1000000000,200,2000000,0,14,,SGk=,,0,GET,http://localhost:8080/,
1002000000,0,300000,0,0,"Get ""http://localhost:8080/"": dial tcp 0.0.0.0:0->[::1]:8080: connect: connection refused",,,1,GET,http://localhost:8080/,
1004000000,503,1000000,0,0,503 Service Unavailable,,,2,GET,http://localhost:8080/,
1104000000,200,6000000,0,14,,SGk=,,3,GET,http://localhost:8080/,
"""
HEY = """\

Summary:
  Total:\t1.2345 secs
  Requests/sec:\t40502.2

Status code distribution:
  [200]\t900 responses
  [503]\t20 responses

Error distribution:
  [40]\tGet "http://127.0.0.1:8080": dial tcp 127.0.0.1:8080: socket: too many open files
  [30]\tGet "http://127.0.0.1:8080": read tcp 127.0.0.1:40001->127.0.0.1:8080: read: connection reset by peer
  [10]\tGet "http://127.0.0.1:8080": read tcp 127.0.0.1:40002->127.0.0.1:8080: read: connection reset by peer
"""
OHA = """\
Summary:
  Success rate:\t50.00%
  Total:\t812.5 ms

Status code distribution:
  [200] 500 responses

Error distribution:
  [480] Connection refused (os error 111)
  [20] aborted due to deadline
"""


def test_vegeta_gives_every_request_away() -> None:
    heard = said.vegeta(VEGETA)
    assert (heard.requests, heard.answered) == (4, 2)
    assert said.kinds(heard.errors) == {"refused on [::1]": 1, "bad_answer": 1}
    assert heard.latencies_ms == (2.0, 6.0)
    assert heard.ends_s == pytest.approx((0.002, 0.110))
    assert heard.seconds == pytest.approx(0.110)


def test_there_is_a_reader_of_what_each_tool_speaks() -> None:
    assert {tool.speaks for tool in tools.tools().values()} == set(said.READERS)


def test_hey_counts_what_its_summary_counts_and_merges_messages_that_differ_in_the_port() -> None:
    heard = said.hey(HEY)
    assert (heard.requests, heard.answered, heard.seconds) == (1000, 900, 1.2345)
    assert said.kinds(heard.errors) == {"client_out_of_files": 40, "reset": 40, "bad_answer": 20}
    assert len(heard.errors) == 3
    assert heard.latencies_ms is None


def test_oha_says_it_in_the_same_form_and_in_other_units() -> None:
    heard = said.hey(OHA)
    assert (heard.requests, heard.answered, heard.seconds) == (1000, 500, 0.8125)
    assert said.kinds(heard.errors) == {"refused": 480, "timed_out": 20}
    assert said.without_colours("\x1b[38;5;10m  [200] 500 responses\x1b[39m") == "  [200] 500 responses"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (
            'Get "http://localhost:8080/": dial tcp 0.0.0.0:0->[::1]:8080: connect: connection refused',
            "refused on [::1]",
        ),
        ("dial tcp [::1]:8080: connect: connection refused", "refused on [::1]"),
        ("dial tcp 127.0.0.1:8080: connect: connection refused", "refused"),
        ("connect: cannot assign requested address", "client_out_of_ports"),
        ("Cannot assign requested address (os error 99)", "client_out_of_ports"),
        ("Too many open files (os error 24)", "client_out_of_files"),
        ("context deadline exceeded (Client.Timeout exceeded while awaiting headers)", "timed_out"),
        ('Get "http://127.0.0.1:8080": EOF', "closed_early"),
        ("connection closed before message completed", "closed_early"),
        ("something nobody has seen", "other_error"),
    ],
)
def test_messages_are_sorted_by_what_they_say(message: str, kind: str) -> None:
    assert said.kind(message) == kind


def test_a_long_distribution_is_kept_short_and_says_so() -> None:
    lines = [f"  [1]\tread tcp 127.0.0.1:{port}->127.0.0.1:8080: reset" for port in range(10_000, 10_500)]
    assert said.shortened("\n".join(lines)).count("\n") == 0, "ports apart they are one line"
    kept = said.shortened("\n".join(f"line {number}" for number in range(500)))
    assert kept.splitlines()[-1] == f"… and {500 - said.OUTPUT_LINES} lines more"


BUILD_INFO = """\
bin/vegeta: go1.26.8
\tpath\tgithub.com/tsenart/vegeta/v12
\tmod\tgithub.com/tsenart/vegeta/v12\tv12.11.1\th1:abc=
\tdep\tgithub.com/rs/dnscache\tv0.0.0-20211102005908-e0241e321417\th1:def=
"""


def test_a_version_is_read_from_what_go_says_of_the_program() -> None:
    assert tools.module_version(BUILD_INFO, "github.com/tsenart/vegeta/v12") == "v12.11.1"
    assert tools.module_version(BUILD_INFO, "github.com/rakyll/hey") == ""
