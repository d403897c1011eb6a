"""Whose silence it was, and whether files had run out: from literal lives and samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.files import backoffs

LIMIT, OWN = 12, 8
"""Room for four connections."""
REST_US = 500_000


def lives(*rows: dict[str, float]) -> pd.DataFrame:
    """Connections, accepted and ended at moments in µs, in the queue for ``queue_wait_us`` before; not sent again."""
    usual = {"issued_us": 0.0, "arrived_us": np.nan, "queue_wait_us": 0.0, "syn_retransmits": 0.0}
    return pd.DataFrame([{**usual, **row} for row in rows])


def watched(full: list[tuple[int, int]], until_us: int, busy: float = 0.0) -> pd.DataFrame:
    """Samples each 5 ms: all files open in the stretches ``full``, only its own otherwise; ``busy`` CPUs used."""
    times = np.arange(-5_000, until_us, 5_000)
    at_limit = np.any([(times >= begin) & (times <= end) for begin, end in full], axis=0) if full else False
    files = np.where(at_limit, LIMIT, OWN)
    return pd.DataFrame(
        {"time_us": times, "server_files": files, "server_files_limit": LIMIT, "server_cpu_us": times * busy}
    )


def batches(number: int, *, out_of_files: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Four connections at a time, all of which lay in the queue from the start; half a second between two batches.

    With the files at their limit for 20 ms from each batch on, or with files to spare throughout.
    """
    begins = [10_000 + batch * REST_US for batch in range(number)]
    taken = [
        {"accepted_us": begin + place, "closed_us": begin + 2_000, "queue_wait_us": float(begin + place)}
        for begin in begins
        for place in range(4)
    ]
    if not out_of_files:
        taken = [{**row, "closed_us": row["accepted_us"]} for row in taken]
    full = [(begin, begin + 20_000) for begin in begins] if out_of_files else []
    return lives(*taken), watched(full, begins[-1] + REST_US)


def test_a_silence_in_which_somebody_waits_is_the_server_s() -> None:
    found = backoffs.silences(*batches(3, out_of_files=True))
    assert found["ms"].to_list() == pytest.approx([499.997] * 2)
    assert found["waited_ms"].to_list() == found["ms"].to_list()
    assert found["at_limit"].all()
    assert found["overslept_ms"].to_list() == pytest.approx([480] * 2, abs=6), "files were free again after 20 ms"


def test_a_silence_in_which_nobody_is_there_is_the_clients() -> None:
    storm = lives(
        {"accepted_us": 1_000, "closed_us": 2_000},
        {"accepted_us": 1_031_000, "closed_us": 1_032_000, "queue_wait_us": 1_000, "syn_retransmits": 1},
    )
    found = backoffs.silences(storm, watched([], 1_100_000))
    assert found["waited_ms"].to_list() == [1]
    assert found["sent_again"].to_list() == [True]
    assert backoffs.waits(found).empty
    said = backoffs.measures(storm, watched([], 1_100_000))
    assert (said["backoffs"], said["out_of_files"], said["sent_again"]) == (0, 0, 1)
    assert said["nobody_s"] == pytest.approx(1.029)
    assert np.isnan(said["pause_ms"])


def test_who_comes_in_the_middle_of_a_silence_waits_from_then_on() -> None:
    storm = lives(
        {"accepted_us": 0, "closed_us": 900_000}, {"accepted_us": 900_000, "closed_us": 1e6, "queue_wait_us": 300_000}
    )
    (found,) = backoffs.silences(storm, watched([(500_000, 800_000)], 1_000_000)).to_dict("records")
    assert (found["since_us"], found["waited_ms"], found["at_limit"]) == (600_000, 300, True)
    assert found["overslept_ms"] == pytest.approx(100)


def test_waits_with_files_to_spare_are_no_backoffs() -> None:
    storm = batches(3, out_of_files=False)
    assert len(backoffs.waits(backoffs.silences(*storm))) == 2
    assert backoffs.measures(*storm)["backoffs"] == 0
    assert backoffs.measures(*storm)["out_of_files"] == 0


def test_between_two_samples_the_rows_say_that_files_ran_out() -> None:
    """Accepted and answered within 2 ms: no sample sees it."""
    storm, _ = batches(2, out_of_files=True)
    assert backoffs.measures(storm, watched([], 2 * REST_US))["out_of_files"] == 1


def test_a_rest_that_ends_with_files_taken_at_once_is_still_a_rest() -> None:
    """A server that accepts again may be at its limit before it stamps the first."""
    storm, _ = batches(2, out_of_files=True)
    again = watched([(10_000, 30_000), (495_000, 530_000)], 2 * REST_US)
    assert backoffs.silences(storm, again)["overslept_ms"].to_list() == pytest.approx([480], abs=6)


def test_cpus_are_those_of_the_wait() -> None:
    storm, _ = batches(2, out_of_files=True)
    assert backoffs.measures(storm, watched([(10_000, 30_000)], 2 * REST_US, busy=0.3))["cpus"] == pytest.approx(0.3)


@pytest.mark.parametrize("storms", [1, 5])
def test_backoffs_are_found_where_they_are_planted(storms: int) -> None:
    found = backoffs.find_backoffs([batches(8, out_of_files=True)] * storms)
    assert found.share == 1
    assert found.by_chance < 0.3
    assert found.p < (0.1 if storms == 1 else 0.01)


def test_backoffs_are_not_found_where_files_run_out_at_other_times() -> None:
    """As often and as long at the limit, a fifth of a second after each wait has begun."""
    storm, _ = batches(8, out_of_files=False)
    elsewhere = watched([(210_000 + batch * REST_US, 230_000 + batch * REST_US) for batch in range(8)], 9 * REST_US)
    found = backoffs.find_backoffs([(storm, elsewhere)] * 5)
    assert found.share == 0
    assert found.p > 0.5


def test_without_samples_of_files_nothing_is_said_of_them() -> None:
    storm, seen = batches(3, out_of_files=False)
    seen["server_files"] = np.nan
    assert backoffs.measures(storm, seen)["out_of_files"] == 0
    assert len(backoffs.full_at(storm, seen)) == 0
