"""A process that stays behind another and ends what that one leaves, however it ended.

A signal for a parent that dies reaches direct children only. What a server starts, or sends into the background in a
session and with an environment of its own, goes to the nearest ancestor that adopts orphans: the guard.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType

from harness.machine import children


def guarded(work: Callable[[], int]) -> int:
    """Do ``work`` in a child of this process, which has one thread; the exit status, in both of them.

    Of a child that was killed it is 128 + the signal, as shells have it. SIGINT and SIGTERM are passed on to the child;
    where this process is killed, it gets a SIGTERM.
    """
    guard = os.getpid()
    children.adopt_orphans()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, children.STOPPING)
    child = os.fork()
    if child == 0:
        children.die_with_parent(signal.SIGTERM)
        if os.getppid() != guard:
            os.kill(os.getpid(), signal.SIGTERM)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return work()

    def pass_on(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)  # not waited for yet: its number is not another's

    for number in children.STOPPING:
        signal.signal(number, pass_on)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, children.STOPPING)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    for number in children.STOPPING:
        signal.signal(number, signal.SIG_IGN)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    # The tracing is no run's: it ends by itself, when it has put its instance away.
    children.end_descendants(spared=children.with_mark(""))
    return status if status >= 0 else 128 - status
