"""Which retry policy helps a cold pool is what its storms say."""

from __future__ import annotations

import pandas as pd

from analysis.mitigations import connecting
from tests.lines import run

FIRST, BACKOFF = "all at once", "backoff"


def storms(factor: float, server: str = "hyper", made: int = 100, **columns: object) -> pd.DataFrame:
    """Five storms of each of two policies, the second's 99th percentile a multiple of the first's."""
    rows = []
    for variant in (FIRST, BACKOFF):
        for number in range(5):
            time = (1_000.0 + 5 * number) * (factor if variant == BACKOFF else 1)
            line = run({"server": server, "clients": 200, "connections": 100, "attempts": 5, "attempt_timeout_s": 0.5})
            line |= {"variant": variant, "wanted_p99_ms": time, "connections_made": made, "ListenOverflows": 0}
            rows.append(line | (columns if variant == BACKOFF else {}))
    return pd.DataFrame(rows)


def test_a_policy_is_held_against_the_first_on_each_stack() -> None:
    both = pd.concat([storms(3.0), storms(0.5, "go"), storms(1.0, "node")], ignore_index=True)
    said = connecting.against_the_first(both)
    assert said == (
        "p99 over that with *all at once*: *backoff*: longer on hyper 3.00 in 5 of 5; "
        "shorter on go 0.50 in 5 of 5; alike on node 1.00 in 5 of 5."
    )
    assert connecting.headline(both) == "A cold pool: p99 is longest with backoff on hyper, 3.03 s; 1.01 s all at once"
    assert connecting.headline(storms(0.5)) == "A cold pool: p99 is longest with all at once on hyper, 1.01 s"


def test_a_generator_at_its_limit_can_only_make_a_policy_slower() -> None:
    assert "shorter on hyper at most 0.50" in connecting.against_the_first(storms(0.5, generator="limiting"))
    assert "not decided on hyper at most 3.00" in connecting.against_the_first(storms(3.0, generator="limiting"))
    first = storms(0.5)
    paced = first.assign(generator=first["variant"].map({FIRST: "limiting", BACKOFF: "ok"}))
    assert connecting.against_the_first(paced).endswith("not decided on hyper.")


def test_what_overflowed_and_what_was_opened_are_counted() -> None:
    both = pd.concat([storms(3.0, ListenOverflows=7), storms(1.0, "go")], ignore_index=True)
    assert connecting.overflows(both).endswith("of hyper in 5 of 10, of go in 0 of 10.")
    assert connecting.opened(both, 100) == ""
    fewer = pd.concat([storms(1.0, made=100, connections_made=20), storms(1.0, "go", made=120)], ignore_index=True)
    assert connecting.opened(fewer, 100).endswith("*backoff* 20% on hyper, 120% on go.")
