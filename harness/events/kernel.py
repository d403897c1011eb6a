"""Numbers of Linux's TCP that the lab does not set, each with the place in its source that has them."""

from __future__ import annotations

FIRST_TIMEOUT_US = 1_000_000
"""After which a SYN is sent again: TCP_TIMEOUT_INIT, include/net/tcp.h; RFC 6298."""
RTO_MIN_US = 200_000
"""The shortest after which a segment is sent again, and what loopback comes to: TCP_RTO_MIN, include/net/tcp.h."""
RESENT_FROM_US = RTO_MIN_US - 10_000
"""The same less a generous tick: sooner than that nothing was sent again."""
TICK_US = 4_000
"""The grain of the dates in TCP_INFO where a run does not say it: HZ=250, which all had that were recorded before."""
RESOLUTION_TICKS = 2
"""A time between two such dates that is no longer than this cannot be told from none."""
TIMER_COARSENESS = 1 / 8
"""A timer may be late by up to an eighth of what it was set to, whatever HZ is: kernel/time/timer.c."""
