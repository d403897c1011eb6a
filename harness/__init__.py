"""Storm Lab: why does a server fail under a storm of short connections, and what fixes it?

The floors, from the ground up; each imports only what lies below it::

    plan  events  host            what to run · the tables · what this machine is and allows
    namespace  servers/  load/    the instruments
    probe/  ledger                queue, counters and server on one clock · the SYNs of each connection
    store  conclude               runs on disk, in phases · from rows to tables, the last of them
    layout  ground                CPUs and ports · network, addresses and slices of a trial
    agents  witnesses             who drives a storm · who watches it
    supervisor  trial             one storm from start to end · as its caller sees it
    stats  summary  checks        thought: pure functions of the record
    batch  results  record        many trials · one row a run · the door: plan in, runs out
    plots/  report/               figures · what the terminal says
    doctor  notebooks  cli/       the commands
"""

from pathlib import Path

__version__ = "0.1.0"
PROJECT = Path(__file__).parents[1]
"""The checkout."""
