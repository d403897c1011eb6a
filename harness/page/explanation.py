"""``stormlab explain`` on the terminal: failed checks first, then the story."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich.text import Text

from harness.page.tables import NO_VALUE, console, print_rows, quantile

CHART_COLUMNS = 72
SHOWN_EPISODES = 8
_BARS = " ▁▂▃▄▅▆▇█"


def print_explanation(story: dict[str, Any]) -> None:
    out = console()
    for check in story["checks"]:
        if check["status"] == "fail":
            out.print(Text(f"CHECK FAILED  {check['name']}: {check['detail']}", style="bold red"))
    if story["error"]:
        out.print(Text(f"FAILED  {story['error']['message']}", style="bold red"))
    answered = story["outcomes"]["answered"]
    out.print(Text(f"{story['server']}: {answered:,} of {story['planned']:,} requests answered  ({story['run_id']})\n"))
    _print_causes(story)
    _print_chart(story)
    _print_episodes(story)
    for one in story["standstills"]:
        out.print(
            Text(
                f"From {one['begin_us'] / 1e6:.2f} s on nobody took from the queue for {quantile(one['duration_ms'])}: "
                f"{one['waited']:,} waited; {one['driver']}: {one['because']}\n"
            )
        )
    _print_remedies(story)
    out.print(Text("How far to believe it", style="bold"))
    print_rows(("check", "status", ""), [(c["name"], c["status"], c["detail"]) for c in story["checks"]])
    _print_traced(story["traced"])
    evidence = story["evidence"]
    out.print(Text(f"accept times: {evidence['accept']}; lost SYNs: {evidence['syn']}"))


def _print_causes(story: dict[str, Any]) -> None:
    rows = []
    for row in story["causes"]:
        longest = max(row["median_ms"].items(), key=lambda item: item[1] or 0)
        waits = f"{longest[0].replace('_', ' ')} {quantile(longest[1])}" if longest[1] else NO_VALUE
        details = ", ".join(f"{detail} ({count:,})" for detail, count in row["details"].items())
        share = f"{row['connections'] / story['connections']:.1%}"
        meaning = row["meaning"] + (f" — {details}" if details else "")
        rows.append((row["cause"], f"{row['connections']:,}", share, f"{row['answered']:,}", waits, meaning))
    columns = ("cause", "connections", "share", "answered", "longest phase, median", "what it means")
    print_rows(columns, rows, right=("connections", "share", "answered"))
    failed = {name: count for name, count in story["outcomes"].items() if count and name != "answered"}
    ends = "; ".join(f"{count:,} {name}" for name, count in failed.items()) or "every request was answered"
    out = console()
    out.print(Text(f"\noutcomes: {answered_first(story)}{'; ' + ends if failed else ''}"))
    spent = {name: share for name, share in story["phases_share"].items() if share >= 0.005}
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    out.print(Text("time spent: " + ", ".join(f"{share:.0%} {name.replace('_', ' ')}" for name, share in ordered)))
    if story["syns"]:
        syns = story["syns"]
        out.print(
            Text(
                f"SYNs: {syns['left']:,} left the clients, {syns['lost_before_tcp']:,} were lost before TCP, "
                f"{syns['arrived']:,} reached the listener, which answered {syns['synacks_sent']:,} times"
            )
        )
    out.print()


def answered_first(story: dict[str, Any]) -> str:
    return f"{story['outcomes']['answered']:,} answered"


def _print_chart(story: dict[str, Any]) -> None:
    """Answers and queue depth over time, a character a step."""
    timeline = story["timeline"]
    answers, depths = timeline["answers"], [depth or 0 for depth in timeline["accept_queue"]]
    if not answers:
        return
    merged = -(-len(answers) // CHART_COLUMNS)
    step_s = timeline["step_s"] * merged
    answers = [sum(answers[i : i + merged]) for i in range(0, len(answers), merged)]
    depths = [max(depths[i : i + merged]) for i in range(0, len(depths), merged)]
    out = console()
    out.print(Text(f"answers       {_bars(answers)}  at most {max(answers):,} in {step_s:.1f} s"))
    out.print(Text(f"accept queue  {_bars(depths)}  at most {max(depths):,}"))
    out.print(Text(f"seconds       {_ruler(len(answers), step_s)}\n"))


def _bars(values: Sequence[int]) -> str:
    """The smallest value above nothing is still seen."""
    top = max(values) or 1
    return "".join(_BARS[-(-value * (len(_BARS) - 1) // top)] for value in values)


def _ruler(columns: int, step_s: float) -> str:
    """A number at every whole second where there is room for it."""
    ruler = [" "] * (columns + 4)
    free = 0
    for second in range(int(columns * step_s) + 1):
        at, label = round(second / step_s), str(second)
        if at >= free and at < columns:
            ruler[at : at + len(label)] = label
            free = at + len(label) + 2
    return "".join(ruler[:columns])


def _print_episodes(story: dict[str, Any]) -> None:
    episodes = sorted(story["episodes"], key=lambda episode: -episode["duration_ms"])[:SHOWN_EPISODES]
    if not episodes:
        console().print(Text("The accept queue was never seen full.\n"))
        return
    title = f"The accept queue was full {len(story['episodes'])} times"
    shown = f"; the {len(episodes)} longest" if len(episodes) < len(story["episodes"]) else ""
    console().print(Text(title + shown, style="bold"))
    print_rows(
        ("from", "for", "driver", "SYNs and ACKs dropped", "numbers"),
        [
            (
                f"{episode['begin_us'] / 1e6:.2f} s",
                quantile(episode["duration_ms"]) if episode["duration_ms"] else "an instant",
                episode["driver"],
                NO_VALUE if episode["overflows"] is None else f"{episode['overflows']:,}",
                episode["because"],
            )
            for episode in sorted(episodes, key=lambda episode: episode["begin_us"])
        ],
        right=("from", "for", "SYNs and ACKs dropped"),
    )
    console().print()


def _print_traced(traced: dict[str, Any] | None) -> None:
    """What the kernel's tracepoints saw of the same connections."""
    if traced is None:
        return
    found = Counter((one["what"], one["because"]) for one in traced["differences"])
    count = len({one["connection"] for one in traced["differences"]})
    console().print(Text(f"\nTraced: {traced['connections'] - count:,} of {traced['connections']:,} connections agree"))
    rows = [(f"{number:,}", what, because or NO_VALUE) for (what, because), number in found.most_common()]
    if rows:
        print_rows(("differ", "in", "because"), rows, right=("differ",))


def _print_remedies(story: dict[str, Any]) -> None:
    if not story["remedies"]:
        return
    console().print(Text("What would mend it", style="bold"))
    print_rows(
        ("connections", "change", "because"),
        [(f"{remedy['connections']:,}", remedy["change"], remedy["because"]) for remedy in story["remedies"]],
        right=("connections",),
    )
    console().print()
