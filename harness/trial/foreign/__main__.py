"""``python -m harness.trial.foreign [NAME …]``: build the other generators, and the servers as they were published."""

from __future__ import annotations

import sys

from harness.errors import PlanError
from harness.trial.foreign import tools


def main(names: list[str]) -> int:
    unknown = set(names) - set(tools.units())
    if unknown:
        error = PlanError(f"nothing is called {', '.join(unknown)}", f"known are {', '.join(tools.units())}")
        print(error.line, file=sys.stderr)
        return error.exit_code
    tools.build(lambda line: print(line, file=sys.stderr, flush=True), names)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
