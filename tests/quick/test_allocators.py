"""What a running process shows of its allocator: other processes are looked at, never a command line."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.machine.usage import Usage
from harness.servers import allocators

SAYS = "jemalloc 5.3.1"


@contextmanager
def asleep(*names: str, **environment: str) -> Iterator[int]:
    """A Python process that has come to its first line, with ``names`` on its command line."""
    code = "import sys, time; print(flush=True); time.sleep(60)"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *names], env={**os.environ, **environment}, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
    finally:
        process.kill()
        process.communicate()


def require_library(allocator: str) -> Path:
    reason = allocators.missing_library(allocator)
    if reason is not None:
        pytest.skip(f"{reason.reason}; {reason.next_step}")
    library = allocators.library(allocator)
    assert library is not None
    return library


def test_a_name_on_the_command_line_proves_nothing() -> None:
    with asleep("libjemalloc.so.2", "_rjem_mallctl") as pid:
        found = allocators.found([pid], SAYS)
    assert found.allocator == "system"
    assert "no other allocator" in found.evidence


@pytest.mark.parametrize("allocator", allocators.LIBRARIES)
def test_what_is_preloaded_is_found_mapped(allocator: str) -> None:
    environment = allocators.preloading(str(require_library(allocator)))
    with asleep(**environment) as pid, asleep() as other:
        assert allocators.found([pid], "").allocator == allocator
        assert f"lib{allocator}" in allocators.found([pid], "").evidence
        mixed = allocators.found([pid, other], "")
    assert mixed.allocator == "system", "one of the processes has not got it"
    assert "some of 2" in mixed.evidence


def test_what_is_linked_in_needs_the_word_of_the_allocator_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(allocators.MARKS, "jemalloc", b"PyObject_Repr\0")  # any name that is in every Python
    monkeypatch.setattr(allocators, "_program_has", lambda pid, mark: mark == allocators.MARKS["jemalloc"])
    with asleep() as pid:
        assert allocators.found([pid], SAYS).allocator == "jemalloc"
        assert SAYS in allocators.found([pid], SAYS).evidence
        assert allocators.found([pid], "").allocator == "system"
        assert allocators.found([pid], "mimalloc 302").allocator == "system"


def test_names_are_looked_up_in_the_program_that_runs() -> None:
    with asleep() as pid:
        assert allocators._program_has(pid, b"\x7fELF")
        assert not allocators._program_has(pid, b"no program has this \x01\x02\x03")


def test_a_process_that_is_gone_shows_nothing() -> None:
    assert allocators.found([], SAYS).allocator == "system"
    assert allocators.found([2**22 + 1], SAYS).allocator == "system"
    assert Usage.of([2**22 + 1]) == Usage(None, None, None)


def test_usage_is_read_from_outside() -> None:
    before = Usage.of([os.getpid()])
    begun = time.process_time()
    memory = bytearray(b"x" * 50_000_000)
    while time.process_time() - begun < 0.05:
        pass
    used, after = time.process_time() - begun, Usage.of([os.getpid()])
    assert after.cpu_s is not None and before.cpu_s is not None
    assert after.cpu_s - before.cpu_s == pytest.approx(used, abs=0.02)
    assert after.peak_rss_bytes is not None and after.rss_bytes is not None
    assert after.peak_rss_bytes + 2**22 >= after.rss_bytes >= len(memory)
