"""``python -m harness.trial.foreign [NAME …]``: build the other generators, and the servers as they were published."""

from __future__ import annotations

import sys

from harness.errors import PlanError
from harness.servers.build import build_all
from harness.trial.foreign.tools import units


def main(names: list[str]) -> int:
    known = units()
    unknown = set(names) - set(known)
    if unknown:
        error = PlanError(f"nothing is called {', '.join(unknown)}", f"known are {', '.join(known)}")
        print(error.line, file=sys.stderr)
        return error.exit_code
    chosen = [known[name] for name in names or known]
    build_all(chosen, lambda line: print(line, file=sys.stderr, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
