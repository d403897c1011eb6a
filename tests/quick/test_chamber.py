"""A chamber's folder and answer: what an interrupt finds undone is undone, and what was seen is said."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.machine import chamber


@pytest.fixture(autouse=True)
def _another_thread() -> Iterator[None]:
    """As numpy has: it takes a signal that the main thread blocks."""
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_its_folder_is_gone_however_it_is_left(tmp_path: Path) -> None:
    with chamber.folder("stormlab-") as folder:
        (folder / "file").write_text("")
        assert folder.parent == tmp_path
    with pytest.raises(ValueError, match="no"), chamber.folder("stormlab-"):
        raise ValueError("no")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("owner", "name"), [(tempfile, "mkdtemp"), (shutil, "rmtree")], ids=["made", "removed"])
def test_an_interrupt_comes_after_its_folder_is_made_or_removed(
    owner: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = getattr(owner, name)

    def interrupted(*words: Any, **options: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return done(*words, **options)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(owner, name, interrupted)
        with chamber.folder("stormlab-"):
            pass
    assert not list(tmp_path.iterdir())


def answered(observe: str, job: dict[str, Any]) -> dict[str, Any]:
    imported = "import os, signal, time\nfrom harness import errors\nfrom harness.machine import chamber"
    code = f"{imported}\n{observe}\nchamber.answer(observe)"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=True)
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def test_it_answers_what_it_saw_or_why_it_could_not_or_that_it_was_interrupted() -> None:
    seen = "def observe(job): return {'seen': job}"
    refused = "def observe(job): raise errors.MachineError('no', 'try')"
    interrupted = "def observe(job):\n os.kill(os.getpid(), signal.SIGTERM)\n time.sleep(60)"
    assert answered(seen, {"a": 1}) == {"observed": {"seen": {"a": 1}}}
    assert answered(refused, {}) == {"error": {"code": 3, "message": "no", "next_step": "try"}}
    assert answered(interrupted, {}) == {"interrupted": True}
