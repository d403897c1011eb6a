"""A tool that does not do what it was started for: said in a line, with nothing kept."""

from __future__ import annotations

import datetime as dt
import time
from pathlib import Path
from typing import Any

import pytest

from harness.errors import MachineError
from harness.plan import Server
from harness.plan.attack import Attack
from harness.servers import build
from harness.thought.said import read
from harness.trial.foreign import chamber, run, tools
from harness.trial.foreign.chamber import OUTPUT, Chamber

OBSERVED: dict[str, Any] = {"tool_ended": "exit status 2", "announced": ""}


class Sleeper:
    """A tool that does not come to an end."""

    def command(self, options: str, url: str, results: Path) -> list[str]:
        return ["sleep", "60"]

    def stdin(self, url: str) -> str:
        return ""


def test_a_tool_that_does_not_end_in_its_time_is_ended_and_has_no_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chamber, "MARGIN_S", -0.9)
    attack = Attack(Server(name="python"), seconds=1)
    attacking = Chamber(attack, tmp_path)
    monkeypatch.setattr(attacking, "tool", Sleeper())
    begun = time.monotonic()
    with pytest.raises(MachineError, match=r"vegeta-12\.13\.0 was given 1 s and -0\.9 more; it had not ended"):
        attacking._attack()
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("wrote", "said"),
    [("flag provided but not defined: -durations\nUsage of attack:\n", "not defined: -durations"), ("", "report")],
)
def test_results_that_a_tool_cannot_read_itself_are_a_line(
    wrote: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / OUTPUT).write_text(wrote)
    monkeypatch.setattr(build, "BUILT", tmp_path)
    attack = Attack(Server(name="python"), "vegeta-12.13.0", "-durations=1s")
    program = tools.find(attack.tool).path
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho 'open results.bin: no such file' >&2\nexit 1\n")
    program.chmod(0o755)
    with pytest.raises(MachineError) as refused:
        run._record(attack, dt.datetime.now(dt.UTC), OBSERVED, tmp_path, read)
    assert said in refused.value.message
    assert "exit status 2" in refused.value.message
    assert refused.value.next_step == "try its options by hand: -durations=1s"
    assert "\n" not in refused.value.line
