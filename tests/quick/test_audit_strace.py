"""What a trace of system calls says of a listener, from lines as strace(1) writes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.servers.audit.strace import Trace, calls, missing_tracer, read

LISTENS = """\
100 10.000001 bind(3, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16) = 0
100 10.000002 listen(3, 1024) = 0"""


def trace(text: str, since_s: float = 0.0) -> Trace:
    return read(f"{LISTENS}\n{text}".splitlines(), 8080, since_s)


def test_the_last_backlog_passed_for_the_port_counts() -> None:
    """A Unix socket, another port and a call that failed do not."""
    lines = """\
100 9.1 bind(4, {sa_family=AF_UNIX, sun_path="/x/control"}, 12) = 0
100 9.2 listen(4, 64) = 0
100 9.3 bind(5, {sa_family=AF_INET6, sin6_port=htons(9090), sin6_flowinfo=htonl(0)}, 28) = 0
100 9.4 listen(5, 7) = 0
100 9.5 bind(6, {sa_family=AF_INET6, sin6_port=htons(8080), sin6_flowinfo=htonl(0)}, 28) = 0
100 9.6 listen(6, 5) = -1 EADDRINUSE (Address already in use)
100 9.7 listen(6, -1) = 0"""
    assert read(lines.splitlines(), 8080).asked == (-1,)


def test_a_listener_whose_bind_was_not_seen_is_taken_for_it() -> None:
    """The caller may have bound it: what is not known to be of another port counts."""
    assert read(["100 1.0 listen(3, 77) = 0"], 8080).asked == (77,)


def test_a_call_that_another_thread_interrupts_is_put_together() -> None:
    lines = """\
100 10.1 accept4(3,  <unfinished ...>
101 10.2 epoll_wait(5,  <unfinished ...>
100 10.3 <... accept4 resumed>{sa_family=AF_INET}, [16], SOCK_CLOEXEC) = 9
101 10.4 <... epoll_wait resumed>[], 1024, 0) = 0"""
    found = [(call.thread, call.name, call.result) for call in calls(lines.splitlines())]
    assert found == [(100, "accept4", None), (101, "epoll_wait", None), (100, "accept4", 9), (101, "epoll_wait", 0)]


def test_lines_that_are_no_calls_are_passed_over() -> None:
    assert list(calls(["100 1.0 --- SIGCONT {si_signo=SIGCONT} ---", "100 1.0 +++ exited with 0 +++", ""])) == []


def test_a_loop_until_nothing_is_left_is_one_turn() -> None:
    found = trace("""\
100 11.0 epoll_wait(5, [{events=EPOLLIN}], 64, -1) = 1
100 11.1 accept4(3, NULL, NULL, SOCK_CLOEXEC) = 7
100 11.2 accept4(3, NULL, NULL, SOCK_CLOEXEC) = 8
100 11.3 accept4(3, NULL, NULL, SOCK_CLOEXEC) = -1 EAGAIN (Resource temporarily unavailable)
100 11.4 accept4(3, NULL, NULL, SOCK_CLOEXEC) = 9""")
    assert (found.runs, found.longest_run, found.blocking) == ((2, 1), 2, False)


def test_one_accept_between_two_waits_is_one_a_turn() -> None:
    turn = "100 11.{0}1 epoll_wait(5, [{{}}], 64, -1) = 1\n100 11.{0}2 accept4(3, NULL, NULL, 0) = 7\n"
    found = trace("".join(turn.format(number) for number in range(4)))
    assert (found.longest_run, found.blocking) == (1, False)


def test_accepts_in_which_the_server_itself_waits_are_blocking() -> None:
    found = trace("100 11.0 accept4(3, NULL, NULL, 0) = 7\n100 11.1 accept4(3, NULL, NULL, 0) = 8")
    assert (found.runs, found.blocking) == ((1, 1), True)


def test_waiting_for_one_connection_is_no_return_to_the_loop() -> None:
    """gunicorn's worker serves each connection before it accepts the next."""
    found = trace("""\
100 11.0 poll([{fd=3, events=POLLIN}], 1, 500) = 1 ([{fd=3, revents=POLLIN}])
100 11.1 accept4(3, NULL, NULL, 0) = 7
100 11.2 poll([{fd=7, events=POLLIN}], 1, 2000) = 1 ([{fd=7, revents=POLLIN}])
100 11.3 accept4(3, NULL, NULL, 0) = 7
100 11.4 poll([{fd=3, events=POLLIN}], 1, 500 <unfinished ...>""")
    assert (found.runs, found.blocking) == ((2,), False)


def test_a_loop_that_moves_to_another_thread_goes_on() -> None:
    """Go's: the thread that accepted first waits for events meanwhile."""
    found = trace("""\
100 11.0 accept4(3, NULL, NULL, 0) = 7
100 11.1 epoll_pwait(5, [], 128, 0, NULL, 0) = 0
101 11.2 accept4(3, NULL, NULL, 0) = 8
101 11.3 accept4(3, NULL, NULL, 0) = -1 EAGAIN (Resource temporarily unavailable)""")
    assert found.runs == (2,)


def test_threads_that_accept_at_once_have_turns_of_their_own() -> None:
    """HAProxy's: each accepts a few, then waits."""
    found = trace("""\
100 11.0 accept4(3, <unfinished ...>
101 11.1 accept4(3, <unfinished ...>
100 11.2 <... accept4 resumed>NULL, NULL, 0) = 7
101 11.3 <... accept4 resumed>NULL, NULL, 0) = 8
100 11.4 accept4(3, NULL, NULL, 0) = 9
100 11.5 epoll_wait(5, [], 64, 0) = 0
101 11.6 accept4(3, NULL, NULL, 0) = 10
101 11.7 epoll_wait(5, [], 64, 0) = 0
100 11.8 accept4(3, NULL, NULL, 0) = 11""")
    assert sorted(found.runs) == [1, 2, 2]


def test_accepts_before_the_burst_do_not_count() -> None:
    assert trace("100 11.0 accept4(3, NULL, NULL, 0) = 7\n100 12.0 accept4(3, NULL, NULL, 0) = 8", 11.5).runs == (1,)


def test_failures_close_together_are_one_try() -> None:
    """asyncio tries as often as its backlog is long, then not for a second."""
    failed = "100 {} accept4(3, NULL, NULL, 0) = -1 EMFILE (Too many open files)\n"
    found = trace("".join(failed.format(moment) for moment in (11.0, 11.001, 11.002, 12.002, 12.003, 13.003)))
    assert (found.failed, found.pauses_ms, found.pause_ms) == (6, (1000.0, 1000.0), 1000.0)


def test_an_accept_on_another_descriptor_is_nobodys() -> None:
    found = trace("100 11.0 accept4(4, NULL, NULL, 0) = 7")
    assert (found.runs, found.longest_run, found.pause_ms) == ((), None, None)


@pytest.mark.parametrize(("fails", "reason"), [(True, "strace may not trace here"), (False, None)])
def test_a_tracer_that_may_not_trace_is_as_good_as_none(
    fails: bool, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some containers have strace and forbid ptrace(2)."""
    (tmp_path / "strace").write_text(f"#!/bin/sh\nexit {int(fails)}\n")
    (tmp_path / "strace").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    missing_tracer.cache_clear()
    try:
        found = missing_tracer()
        assert (found and found.reason) == reason
    finally:
        missing_tracer.cache_clear()
