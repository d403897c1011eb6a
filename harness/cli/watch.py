"""``stormlab watch``: a server that already serves, watched without sending it anything."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.page.watching import Seen
    from harness.witness.live import Live, Watched


def run(options: argparse.Namespace) -> int:
    from harness.events.store import write_whole
    from harness.machine.namespace import join_network_of
    from harness.page import watching
    from harness.witness.live import Live, of_process, on_port

    if options.pid is not None:
        join_network_of(options.pid)
    live = Live(of_process(options.pid) if options.pid is not None else on_port(options.port))
    live.look()
    if not options.json:
        _introduce(live)
    begun, kept = time.monotonic(), 0
    try:
        while options.seconds is None or time.monotonic() - begun < options.seconds:
            left = float("inf") if options.seconds is None else options.seconds - (time.monotonic() - begun)
            since_us, before = int((time.monotonic() - begun) * 1e6), dict(live.counters)
            live.run(min(options.every_ms / 1000, left))
            sockets = [_seen(one, since_us) for one in live.sockets.values()]
            counted = watching.moved(live.counters, before)
            if options.prometheus is not None:
                write_whole(options.prometheus, watching.metrics(sockets, live.counters))
            if options.json:
                document = watching.document(time.monotonic() - begun, sockets, counted)
                print(json.dumps(document, ensure_ascii=False), flush=True)
                continue
            for one in sockets:
                for episode in one.ended:
                    kept += 1
                    print(watching.told(one, episode), flush=True)
                print(watching.line(one, counted), flush=True)
            if not sockets:
                print("nobody listens there any more", flush=True)
    except KeyboardInterrupt:
        if options.json:
            return 0
    if not options.json:
        print(f"{kept} episodes of a full queue were seen to end in {time.monotonic() - begun:.0f} s")
    return 0


def _introduce(live: Live) -> None:
    """Whom it watches, and what it cannot see."""
    for watched in live.sockets.values():
        one = _seen(watched, 0)
        unseen = "of processes that only root sees, so that no driver can be told"
        whose = f"of process {', '.join(map(str, one.pids))}" if one.pids else unseen
        print(f"watching {one.name} {whose}; backlog {one.backlog}; Ctrl-C ends it", flush=True)


def _seen(watched: Watched, since_us: int) -> Seen:
    """With the episodes that have not been told yet."""
    from harness.page.watching import seen

    of = watched.listener
    one = seen((of.address, of.port, of.inode), watched.pids, of.depth, of.backlog, watched.samples, since_us)
    new = tuple(episode for episode in one.ended if episode.begin_us > watched.told_us)
    watched.told_us = max([watched.told_us, *(episode.end_us for episode in new)])
    return replace(one, ended=new)
