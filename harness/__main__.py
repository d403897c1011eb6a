"""``python -m harness`` is ``stormlab``."""

import sys

from harness.cli import main

sys.exit(main())
