"""Numbers of Linux's TCP that the lab does not set, each with the place in its source that has them."""

from __future__ import annotations

FIRST_TIMEOUT_US = 1_000_000
"""After which a SYN is sent again: TCP_TIMEOUT_INIT, include/net/tcp.h; RFC 6298."""
RTO_MIN_US = 200_000
"""The shortest after which a segment is sent again, and what loopback comes to: TCP_RTO_MIN, include/net/tcp.h."""
RESENT_FROM_US = RTO_MIN_US - 10_000
"""The same less a generous jiffy: sooner than that nothing was sent again."""
JIFFY_US = 4_000
"""The grain of the dates in TCP_INFO, at HZ=250."""
RESOLUTION_US = 2 * JIFFY_US
"""A time between two such dates that is no longer cannot be told from none."""
TIMER_COARSENESS = 1 / 8
"""A timer may be late by up to an eighth of what it was set to, whatever HZ is: kernel/time/timer.c."""
