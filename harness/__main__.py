"""``python -m harness`` is ``stormlab``."""

from __future__ import annotations

import signal
import sys


def main() -> int:
    # Until everything is imported there is nothing to clean up: Ctrl-C then just ends the process, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from harness import cli

    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
