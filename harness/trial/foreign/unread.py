"""``unread.py COMMAND …``: a server whose output goes into pipes that nobody reads, as a careless runner has it."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import FrameType


def main() -> int:
    server = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def pass_on(number: int, frame: FrameType | None) -> None:
        server.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    return abs(server.wait())


if __name__ == "__main__":
    sys.exit(main())
