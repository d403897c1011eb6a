"""What notebook 05 answers follows from its storms: planted ones, and none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.files import emfile
from analysis.files import told as files

FEW, SPARE = "64 files", "files to spare"


def storms(*kinds: dict[str, Any], repeats: int = 5) -> pd.DataFrame:
    """Equal storms of each kind, in which nothing happened but what is said."""
    usual = {
        "server": "python",
        "variant": "own backlog",
        "limit": FEW,
        "nofile": 64,
        "rate": 150.0,
        "timeout_s": 2.0,
        "planned": 1_000,
        "success_rate": 1.0,
        "p50_ms": 1.0,
        "p99_ms": 2.0,
        "server_ended": None,
        "server_cpu_s": 0.1,
        "wall_s": 1.0,
        "out_of_files_lines": 0,
        "peak_server_files": 20,
        "server_files_limit": 64,
        "piled_up": 150.0,
        "recovered_s": 0.0,
    }
    return pd.DataFrame([{**usual, **kind} for kind in kinds for _ in range(repeats)])


def test_a_limit_that_nobody_reached_is_said_to_play_no_part() -> None:
    said = emfile.where_it_fails(storms({}, {"limit": SPARE}), SPARE)
    assert "with *own backlog*, no stack ran out" in said
    assert "answered" not in said


def test_a_server_that_ran_out_is_named_with_what_it_cost() -> None:
    out = {"out_of_files_lines": 3, "success_rate": 0.4, "server_ended": "exit status 1"}
    said = emfile.where_it_fails(
        storms(out, {"limit": SPARE}, {"server": "go"}, {"server": "go", "limit": SPARE}), SPARE
    )
    assert "`python` ran out in 5 of 5 storms, which ended it in 5, and answered 40.0%" in said
    assert "`go` did not" in said


def test_a_limit_that_the_program_raised_is_said_to_be_its_own_doing() -> None:
    raised = storms({"server": "go", "server_files_limit": 4096}, {"server": "go", "limit": SPARE, "nofile": 4096})
    assert "raised by the program itself*: `go`" in emfile.where_it_fails(raised, SPARE)
    assert "raised" not in emfile.where_it_fails(storms({}, {"limit": SPARE}), SPARE)


def test_who_recovers_shows_no_symptom() -> None:
    assert "was not seen" in emfile.the_symptom(storms({}, {"limit": SPARE}), {"python": 1.0}, SPARE)


def test_the_symptom_is_that_of_the_worst_who_never_recovers() -> None:
    never = {"recovered_s": np.nan, "success_rate": 0.25}
    runs = storms(never, {"limit": SPARE}, {"server": "actix", "recovered_s": np.nan, "success_rate": 0.5})
    said = emfile.the_symptom(runs, {"python": 1.0, "actix": 0.5}, SPARE)
    assert "`python` with 64 files answered 25.0%" in said
    assert "pulses of 1.00 s, on 0.10" in said


def test_a_stack_catches_up_with_its_room_over_its_rest() -> None:
    """150 connections a second; 57 or 121 at a time, once a second or twice."""
    kinds = storms({"recovered_s": np.nan}, {"limit": "128 files", "nofile": 128})
    slow, quick = (files.recoveries(kinds, {"python": 7}, {"python": rest_s}) for rest_s in (1.0, 0.5))
    assert slow.index.to_list() == [("python", FEW), ("python", "128 files")]
    assert slow["predicted"].to_list() == ["never", "never"]
    assert slow["as predicted"].to_list() == [True, False]
    assert quick["predicted"].to_list() == ["never", "recovers"]
    assert quick["as predicted"].all()
    assert "as predicted in 1 of 2" in emfile.as_predicted(slow, 1.5)


def test_what_fits_is_no_pile_up() -> None:
    fits = storms({"piled_up": 50.0})
    assert files.recoveries(fits, {"python": 7}, {"python": 1.0})["predicted"].to_list() == ["recovers"]


def test_of_a_stack_that_does_not_rest_nothing_is_predicted() -> None:
    table = files.recoveries(storms({}), {}, {})
    assert table["predicted"].to_list() == ["–"]
    assert "in 0 of 0" in emfile.as_predicted(table, 1.5)


def test_batches_are_answers_over_room() -> None:
    short = storms({"success_rate": 0.171}, {"server": "go"})
    table = files.batches(short, {"python": 7, "go": 6}, {"python": 1.0, "go": 0.005}, least_s=0.1)
    assert table.index.to_list() == ["python"]
    assert table.loc["python", "batches"].startswith("3.00")
    assert table.loc["python", "expected"] == "3.0"


def test_who_is_closed_while_older_ones_live_is_the_newest() -> None:
    lives = pd.DataFrame(
        [
            {"connection": 0, "outcome": "answered", "accepted_us": 0, "closed_us": 9, "bytes_received": 100},
            {"connection": 1, "outcome": "answered", "accepted_us": 1, "closed_us": 9, "bytes_received": 100},
            {"connection": 2, "outcome": "reset", "accepted_us": np.nan, "closed_us": 5, "bytes_received": 0},
            {"connection": 3, "outcome": "answered", "accepted_us": 7, "closed_us": 9, "bytes_received": 100},
        ]
    )
    assert files.refused_newest(lives) == {"ended": 1, "answered_before": 0, "older_open": 2}


def test_the_trace_of_the_lab_s_servers_is_the_audit_s() -> None:
    table = files.traced(["python", "node", "no-such-server"])
    assert table.index.to_list() == ["python", "node"]
    assert table["it"].to_list() == ["pauses", "closes"]
