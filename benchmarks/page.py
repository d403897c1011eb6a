"""The benchmark page: what ``generator.py`` measured, as README.md here, with figures and the raw results.

``python benchmarks/page.py [RESULTS.json]`` (default: ``results.json`` here) writes README.md, ``figures/`` and
``results.json``. Every number of the page is computed from the results; a test holds the one against the other.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.events.host import Host
from harness.page.save import draw
from page_figures import MEASURES, figures
from page_findings import (
    above,
    against,
    grouped,
    kind,
    lab_of,
    late_rounds,
    pairs,
    too_few,
    verdict,
    verdicts,
)
from page_words import Json, and_list, bullets, count, in_us, listed, moment, percent, share, shown, table

HERE = Path(__file__).parent
PAGE, RESULTS, FIGURES = HERE / "README.md", HERE / "results.json", HERE / "figures"
REMARKS_SHOWN = 5
NONE = "–"


# ---- the page -----------------------------------------------------------------------------------------------


def page(results: Json) -> str:
    """The page as Markdown."""
    drawn = figures(results)
    parts = [
        "# Benchmarks: the load generator beside others",
        "<!-- Made by `python benchmarks/page.py` from results.json; not to be edited. -->",
        *warning(results),
        answer(results),
        *shown(drawn, "ratios"),
        "## What is compared",
        *method(results),
        "## Where and when",
        table(("what", "found"), where(results)),
        "## Rates and ratios",
        legend(results),
        *(part for one in results["comparisons"] if one["rate"] is None for part in section(results, one)),
        "## CPU time of an answer",
        *shown(drawn, "cpu"),
        "## Where an ambition is missed",
        *shortfalls(results),
        "## How late an open loop issues",
        *open_loops(results, drawn),
        "## What this cannot decide",
        bullets(undecidable(results)),
        "## How quiet the machine was",
        *quietness(results),
        "## How to reproduce",
        *reproduce(results),
    ]
    return "\n\n".join(parts) + "\n"


def shortfalls(results: Json) -> list[str]:
    """What the lab's CPU time has more than that of who is faster, apart by who spends it; what is done about it."""
    missed = verdicts(results, "by_cpu")["missed"]
    if not missed:
        return ["No ambition is missed by CPU time."]
    rows = []
    more: dict[str, list[float]] = {"user": [], "system": []}
    for one, who in missed:
        other = next(each for each in one["contenders"] if each["contender"] == who)
        lab = lab_of(results, one)
        for part, found in more.items():
            found.append(lab[f"{part}_us"] - other[f"{part}_us"])
        rows.append((against(one), who, *(f"{found[-1]:+.1f}" for found in more.values())))
    most = "; ".join(
        f"{part} time, {min(found):+.1f} to {max(found):+.1f}, is more in {sum(us > 0 for us in found)} of {len(found)}"
        for part, found in more.items()
    )
    return [
        "CPU µs an answer that the lab takes more than who is faster:",
        table(("load", "than", "user", "system"), rows),
        f"{most[0].upper()}{most[1:]}.",
        WHAT_WAS_DONE,
    ]


WHAT_WAS_DONE = """What the agent does to take less: rows mapped from a file and written value by value, instead of \
objects that are packed in the end; the parser's callbacks bound once; headers told apart by their length; enum \
members bound to names; TCP_INFO unpacked without names; ports from a list; sending at once instead of waiting for \
EPOLLOUT; edge-triggered registration once for each connection; TCP_INFO at establishment only where the connection \
took longer than two ticks of the kernel's clock.

It stays Python: a compiled agent would need a toolchain on every reader's machine, or be a second one beside the \
readable one. Where the generator was the limit, the run says so."""


def warning(results: Json) -> list[str]:
    if not too_few(results):
        return []
    how = "small loads, " if results["quick"] else ""
    return [
        f"> **No result yet:** {how}{count(results['rounds'], 'round')}, and {results['rounds_wanted']} are the least. "
        "It shows the form of the page."
    ]


def answer(results: Json) -> str:
    """What the reader came for, first."""
    wanted: dict[tuple[str, float], dict[str, None]] = {}
    for one, each in pairs(results):
        if one["ambition"] is not None:
            wanted.setdefault((kind(one), one["ambition"]), {})[each["contender"]] = None
    if not wanted:
        return "No other generator was here to compare with."
    goals = [f"{value:.2f} of {and_list(names)} ({where})" for (where, value), names in wanted.items()]
    parts = [
        "Connections per second and CPU time per connection of the lab's load generator, which records every "
        "connection meanwhile, beside generators that record none. Of their speed it wants to reach "
        f"{and_list(goals)}."
    ]
    for measure, how in MEASURES.items():
        found = verdicts(results, measure)
        parts.append(
            f"{how[0].upper()}{how[1:]} that is reached in {len(found['reached'])} of "
            f"{sum(map(len, found.values()))} comparisons, missed in {len(found['missed'])} and undecided in "
            f"{len(found['undecided'])}."
        )
    return " ".join(parts)


def method(results: Json) -> list[str]:
    return [
        "Each trial is one generator against a freshly started server in a private network namespace of its own, so "
        "that nobody meets the connections in TIME_WAIT of whoever came before. The server has CPUs of its own, every "
        "generator the same ones, and equal numbers of processes or threads. All generators run once in each round, in "
        "an order by lot. Every answer is read to its end.",
        "**Recording is always on.** The lab's agents write the row of every connection and request, with all its "
        "times, retransmissions and its end, to the same files as in every `stormlab run`; the lab's answers and times "
        "here are read from these rows. The server's accept stamps are on, for all generators alike. Not in these "
        "numbers: the probe, the ledger, and what happens to the rows after the storm. What a whole "
        "`stormlab run` pays for stamps, probe and ledger is in [What watching costs](../docs/witnesses.md), "
        "what a row takes on disk by [`row_cost.py`](row_cost.py).",
    ]


def where(results: Json) -> list[tuple[str, str]]:
    host = Host.from_json(results["host"])
    server = results["server"]
    tools = results["tools"]
    here = [tool_version(name, tool) for name, tool in tools.items() if tool["version"] is not None]
    missing = [f"{name} (Debian: {tool['package']})" for name, tool in tools.items() if tool["version"] is None]
    generators = []
    for processes in dict.fromkeys(one["processes"] for one in results["comparisons"]):
        cpus = next(one["client_cpus"] for one in results["comparisons"] if one["processes"] == processes)
        shared = ", shared" if len(cpus) < processes else ""
        generators.append(f"{processes} against {processes} on CPU {listed(cpus)}{shared}")
    found = [
        ("machine", host.caption),
        ("kernel", f"Linux {host.kernel}"),
        ("distribution", host.distribution),
        ("measured", f"{moment(results['begun'])} to {moment(results['ended'])} UTC"),
        ("rounds", f"{results['rounds']:,}" + (", small loads" if results["quick"] else "")),
        ("server", f"{server['title']}" + (f" ({server['version']})" if server["version"] else "")),
        ("its place", f"CPU {listed(results['server_cpus'])}, asks for a backlog of {server['backlog']:,}"),
        ("generators", "; ".join(generators)),
        ("storm lab", f"{results['lab_version']} on Python {host.python}"),
        ("others", ", ".join(here) or "none"),
        ("kernel settings", ", ".join(f"`{name} = {value}`" for name, value in results["kernel_settings"].items())),
    ]
    return [*found, ("left out", ", ".join(missing))] if missing else found


def tool_version(name: str, tool: Json) -> str:
    by = "" if tool["program"] == name else f" ({tool['program']})"
    return f"{name}{by} {tool['version'] or 'of unknown version'}"


def legend(results: Json) -> str:
    return (
        "Medians of the rounds. *lab ÷ it*: geometric mean of the rounds' ratios, paired within each round, with its "
        f"{percent(results['confidence'])} interval (percentiles of a bootstrap over rounds, {results['resamples']:,} "
        "resamples); above 1 the lab is faster. By rate: answers from the first issue to the last answer; wrk counts "
        "the answers of whole seconds instead. By CPU: answers for a second of the generator's CPU, which others on "
        "the machine change less; for the other programs with their start and end, for the lab's agents from the "
        "moment they are ready to their report, without the interpreter's start. An ambition is *reached* or *missed* "
        "where the whole interval says so. *Server busy*: share of its CPU; *others*: what everybody else had of the "
        "server's or the generators' CPU, the larger."
    )


def section(results: Json, comparison: Json) -> list[str]:
    """One comparison: its table, its commands, and what is to be said of single rounds."""
    columns = ("generator", "processes × threads", "answers/s", "lab ÷ it, by rate", "lab ÷ it, by CPU")
    columns += ("CPU µs an answer: user + system", "server busy", "others", "failed")
    rows = []
    for each in comparison["contenders"]:
        known = each["rate_per_s"] is not None
        rows.append(
            (
                each["contender"],
                each["processes_threads"],
                f"{each['rate_per_s']:,.0f}" if known else NONE,
                interval(each["by_rate"], comparison["ambition"]),
                interval(each["by_cpu"], comparison["ambition"]),
                f"{each['user_us']:.1f} + {each['system_us']:.1f}" if known else NONE,
                share(each["server_busy"]) if known else NONE,
                share(each["others"]) if each["others"] is not None else NONE,
                f"{each['failed']:,}",
            )
        )
    wanted = f" Ambition: {comparison['ambition']:.2f}." if comparison["ambition"] is not None else ""
    remarks = comparison["remarks"]
    more = len(remarks) - REMARKS_SHOWN
    notes = remarks[:REMARKS_SHOWN] + ([f"and {more:,} more of this kind"] if more > 0 else [])
    return [
        f"### {comparison['name'].capitalize()}",
        f"{describe(comparison)}{wanted}",
        table(columns, rows, right=columns[2:]),
        commands(comparison),
        *([bullets(notes)] if notes else []),
    ]


def describe(comparison: Json) -> str:
    clients, each = comparison["clients"], comparison["requests_per_client"]
    how = "all at once"
    if comparison["concurrency"]:
        how = f"{comparison['concurrency']:,} at a time"
    elif comparison["rate"]:
        how = f"{comparison['rate']:,.0f} a second"
    return f"{count(clients, 'connection')} with {count(each, 'request')} each, {how}."


def commands(comparison: Json) -> str:
    lines = [f"{' & '.join(each['commands'])}" for each in comparison["contenders"]]
    return "\n".join(["```", *lines, "```"])


def interval(found: Json | None, ambition: float | None) -> str:
    if not found or found["ratio"] is None:
        return ""
    said = verdict(found, ambition)
    return f"{found['ratio']:.2f} ({found['low']:.2f} to {found['high']:.2f})" + (f", {said}" if said else "")


def open_loops(results: Json, drawn: Json) -> list[str]:
    parts: list[str] = []
    loops = [one for one in results["comparisons"] if one["rate"] is not None]
    for number, (one, rounds) in enumerate(zip(loops, late_rounds(results).values(), strict=True)):
        parts.append(f"{describe(one)} Late is what is issued after the slot in which it was due.")
        parts += shown(drawn, "lateness" + (f"-{number + 1}" if number else ""))
        names = list(rounds[0][1]) if rounds else []
        quantiles = [
            (name, *(in_us(f([late[name] for _, late in rounds])) for f in (np.median, max)))
            for name in names
            if name in ("p50", "p90", "p99", "p99.9", "max")
        ]
        columns = ("issued − scheduled", "median round", "worst round")
        parts += [table(columns, quantiles, right=columns[1:]), commands(one)]
        parts += [bullets(one["remarks"][:REMARKS_SHOWN])] if one["remarks"] else []
    return parts or ["None was measured."]


def undecidable(results: Json) -> list[str]:
    """What the reader must not conclude, and why."""
    found = []
    if too_few(results):
        found.append("Anything: there are too few rounds, or the loads are too small.")
    for measure, how in MEASURES.items():
        if names := verdicts(results, measure)["undecided"]:
            found.append(f"Whether the ambition is reached {how}, as the interval contains it: {grouped(names)}.")
    if busy := above(results, "server_busy", results["saturated"]):
        found.append(
            f"How much faster a generator would be against a faster server, where this one was more than "
            f"{percent(results['saturated'])} busy: {grouped(busy)}. By CPU still says who needs less."
        )
    crowded = {
        one["processes"]: one["client_cpus"]
        for one in results["comparisons"]
        if len(one["client_cpus"]) < one["processes"]
    }
    for processes, cpus in crowded.items():
        found.append(
            f"How generators scale over CPUs: with {processes} against {processes} all share "
            f"{count(len(cpus), 'CPU')}, which shows what sharing costs, and not what a second CPU brings."
        )
    if noisy := above(results, "others", results["quiet"]):
        found.append(
            f"Rates where others had more than {percent(results['quiet'])} of the CPUs in the median round: "
            f"{grouped(noisy)}. Go by CPU there."
        )
    ticks = [
        results["tick_s"] * one["processes"] / (trial["cpu_user_s"] + trial["cpu_system_s"])
        for one in results["comparisons"]
        for trial in results["trials"]
        if trial["comparison"] == one["name"] and trial["contender"] == results["lab"] and trial.get("cpu_user_s")
    ]
    if ticks:
        found.append(
            f"Differences by CPU below the clock's grain: the kernel counts an agent's time at its start in ticks of "
            f"{1000 * results['tick_s']:g} ms, which is up to {share(max(ticks), 1)} of the lab's time in its "
            "shortest trial."
        )
    if results["host"]["virtualised"]:
        found.append(
            "What a machine without a hypervisor does: this one is virtual, and a hypervisor's work for it counts as "
            "system time."
        )
    found += [
        "Who is later in an open loop: no other generator here says how late it issued. wrk2, which would, is not in "
        "Debian; `hey -q` and `h2load --rps` do not.",
        "Whose ports are found faster: the lab and the C loop bring their own, the others have the kernel search in "
        f"{results['kernel_settings'].get('net.ipv4.ip_local_port_range', '').replace(' ', ' to ')}.",
        "Networks and other servers: all of this is one server on loopback, where a connection costs the generator's "
        "CPU what a network card would do elsewhere.",
    ]
    return found


def quietness(results: Json) -> list[str]:
    """What everybody else had of the CPUs, by comparison."""
    rows = []
    every: list[float] = []
    for one in results["comparisons"]:
        shares = [
            trial["others"]
            for trial in results["trials"]
            if trial["comparison"] == one["name"] and trial.get("others") is not None
        ]
        every += shares
        if shares:
            over = sum(one_share > results["quiet"] for one_share in shares)
            rows.append((one["name"], len(shares), share(np.median(shares), 1), share(max(shares), 1), over))
    if not every:
        return ["Not known: no trial was measured."]
    over = sum(one_share > results["quiet"] for one_share in every)
    columns = ("comparison", "trials", "others, median", "others, most", f"above {percent(results['quiet'])}")
    return [
        f"Others had more than {percent(results['quiet'])} of the server's or the generators' CPUs in {over:,} of "
        f"{len(every):,} trials; the median of all is {share(np.median(every), 1)}. Others are all processes but the "
        "server and the generator, and what the hypervisor took. It is counted from before the generator's start until "
        f"after its end, in ticks of {1000 * results['tick_s']:g} ms, and given as a share of the time of the load, so "
        "the shortest trials overstate it.",
        table(columns, rows, right=columns[1:]),
    ]


def reproduce(results: Json) -> list[str]:
    packages = sorted({tool["package"] for tool in results["tools"].values()})
    flags = f"{' --quick' if results['quick'] else ''} --rounds {results['rounds']}"
    return [
        f"On a machine with nothing else to do, after `apt install {' '.join(packages)}` and `make setup`:",
        f"```\n.venv/bin/python benchmarks/generator.py --server {results['server']['name']}{flags} --export\n```",
        "Without `--export` it only prints. [results.json](results.json) holds every trial; "
        "`.venv/bin/python benchmarks/page.py` makes this page of it again.",
    ]


# ---- files --------------------------------------------------------------------------------------------------


def kept(value: Any) -> Any:
    """Results as they are committed: six digits of each number, and no folder of the machine in any message."""
    if isinstance(value, dict):
        return {name: kept(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [kept(each) for each in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return re.sub(r"(?<![\w.:/])/(?:[\w.+-]+/)+", "", value) if isinstance(value, str) else value


def written(results: Json) -> str:
    """Results as JSON with a line for each trial, so that a difference between two can be read."""
    head = json.dumps({**results, "trials": []}, indent=1, ensure_ascii=False)
    trials = ",\n".join(f"  {json.dumps(trial, ensure_ascii=False)}" for trial in results["trials"])
    return head.removesuffix("[]\n}") + f"[\n{trials}\n ]\n}}\n"


def make(results: Json) -> None:
    """Write the page, its figures and its results."""
    results = kept(results)
    RESULTS.write_text(written(results))
    FIGURES.mkdir(exist_ok=True)
    for old in FIGURES.iterdir():
        old.unlink()
    for name, (drawing, caption, alternative) in figures(results).items():
        draw(drawing(), FIGURES / f"{name}.svg")
        about = {"figure": name, "results": RESULTS.name, "measured": results["begun"]}
        about |= {"host_ids": [results["host"]["host_id"]], "caption": caption, "alternative_text": alternative}
        (FIGURES / f"{name}.json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(results))


def main(arguments: Sequence[str]) -> int:
    if len(arguments) > 1 or {"-h", "--help"} & set(arguments):
        print((__doc__ or "").strip())
        return 0 if len(arguments) == 1 else 2
    source = Path(arguments[0]) if arguments else RESULTS
    try:
        results = json.loads(source.read_text())
    except (OSError, ValueError) as error:
        print(f"{source}: {error}; measure with benchmarks/generator.py --json {source}", file=sys.stderr)
        return 2
    make(results)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
