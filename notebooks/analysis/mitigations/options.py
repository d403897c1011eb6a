"""The options of a storm as they are typed on the command line, so that no name of a variant hides what it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from harness.plan import Plan, Trial, typed

_VARIED = ("--server", "--host-sysctl")
"""What a plan varies beside its variants: the stack, and whether netdev_max_backlog is raised."""
_AS_IT_COMES = "as it comes"


def options_table(kinds: Mapping[str, Sequence[Plan]]) -> pd.DataFrame:
    """A row for each variant of some plans that belong together, by what they are called: its options.

    The first row of each are those that all of its storms have, which are not repeated; without :data:`_VARIED`. Where
    one name stands for different options on different stacks, their names are with it.
    """
    rows = []
    for storms, plans in kinds.items():
        named = [
            (name, trial.server.name, _own(trial))
            for plan in plans
            for name, trial in zip(plan.variants, plan.trials, strict=True)
        ]
        shared = [word for word in named[0][2] if all(word in words for _, _, words in named)]
        own: dict[tuple[str, str], list[str]] = {}
        for name, server, words in named:
            own.setdefault((name, " ".join(word for word in words if word not in shared)), []).append(server)
        ambiguous = Counter(name for name, _ in own)
        rows.append({"storms": storms, "name": "all of them", "options": " ".join(shared) or _AS_IT_COMES})
        for (name, options), servers in own.items():
            on = f" ({', '.join(dict.fromkeys(servers))})" if ambiguous[name] > 1 else ""
            rows.append({"storms": storms, "name": f"{name}{on}", "options": options or _AS_IT_COMES})
    return pd.DataFrame(rows)


def _own(trial: Trial) -> list[str]:
    return [word for word in typed(trial) if word.split()[0] not in _VARIED]
