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
from page_figures import figures
from page_findings import (
    MEASURES,
    above,
    against,
    best_peer,
    decided,
    engines,
    faster_others,
    grouped,
    lab_of,
    open_loops,
    pairs,
    ratio_text,
    too_few,
    verdict,
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
        *answer(results),
        *shown(drawn, "ratios"),
        "## Which engine for what",
        *which_engine(results),
        "## What was missed, and why",
        *missed(results),
        "## Rates and ratios",
        legend(results),
        *(part for one in results["comparisons"] if one["rate"] is None for part in section(results, one)),
        "## CPU time of an answer",
        *shown(drawn, "cpu"),
        "## How late an open loop issues",
        *lateness(results, drawn),
        "## How it was measured",
        *method(results),
        table(("what", "found"), where(results)),
        "## What this cannot decide",
        bullets(undecidable(results)),
        "## How quiet the machine was",
        *quietness(results),
        "## How to reproduce",
        *reproduce(results),
    ]
    return "\n\n".join(parts) + "\n"


def answer(results: Json) -> list[str]:
    """What the reader came for, first."""
    found = decided(results)
    if not any(one.measure in MEASURES for one in found):
        return ["No other generator was here to compare with."]
    engine = "native engine" if results["engine"] == "native" else "engine in Python"
    speeds = [one for one in results["comparisons"] if one["rate"] is None]
    leads = [text for one in speeds if one["processes"] == 1 and (text := lead(one))]
    by = {said: sum(one.verdict == said for one in found) for said in ("reached", "missed", "undecided")}
    text = (
        f"The lab's {engine} records every connection while it drives the load; the other generators record none. "
        "Its rate over that of the peer that the ambition is about, or the fastest of several, one process against "
        f"one: {'; '.join(leads)}. "
        f"Of {len(found)} ambitions stated beforehand {by['reached']} are reached, {by['missed']} missed and "
        f"{by['undecided']} undecided, where the interval contains the ambition."
    )
    rows: dict[tuple[str, str], list[str]] = {}
    for one in (each for each in found if each.measure in MEASURES):
        rows.setdefault((one.load, one.wanted), []).append(one.line)
    columns = ("load", "ambition", *MEASURES.values())
    own = [(one.load, one.wanted, one.line) for one in found if one.measure not in MEASURES]
    return [
        text,
        table(columns, [(*load, *said) for load, said in rows.items()]),
        *([table(("load", "ambition of the agent's own", "measured"), own)] if own else []),
    ]


def lead(comparison: Json) -> str:
    """Of one load the ratio by rate, in a few words."""
    peer = best_peer(comparison, "by_rate")
    return "" if peer is None else f"{comparison['kind']} {ratio_text(peer['by_rate'])} of {peer['contender']}"


def which_engine(results: Json) -> list[str]:
    """In plain words, and how much faster the native engine is than the other."""
    if results["engine"] != "native":
        return ["The native engine was not built here: all of this is the engine in Python."]
    rows = [(one["kind"], ratio_text(each["by_rate"]), ratio_text(each["by_cpu"])) for one, each in engines(results)]
    parts = [
        "- **Native** (`--engine auto`, the default where it is built): where speed, a server's limit or lateness is "
        "the question. That is kept connections, HTTP/2, generator and server on CPUs of their own, and storms of tens "
        "of thousands.",
        "- **Python** (`--engine python`): where there is no Rust, and to read or change what an agent does. It "
        "issues, times and judges alike; where it is the limit, the run says so.",
        "- **wrk, h2load and the like**: where only a rate is wanted. They do not say which connection failed, when it "
        "was issued, or what became of it.",
    ]
    if not rows:
        return ["\n".join(parts)]
    faster = "How much faster the native engine is than the one in Python, 1 against 1:"
    return ["\n".join(parts), faster, table(("load", "by rate", "by CPU time"), rows)]


def missed(results: Json) -> list[str]:
    """Where the lab takes more CPU time than the fastest peer, and who spends it; what is done about it."""
    not_reached = [one for one in decided(results) if one.verdict != "reached"]
    if not not_reached:
        return ["No ambition is missed or undecided.", WHAT_WAS_DONE]
    rows = {}
    for one in results["comparisons"]:
        for measure in MEASURES:
            peer, lab = best_peer(one, measure), lab_of(results, one)
            if peer is None or verdict(peer[measure], one["ambition"]) in (None, "reached"):
                continue
            more = (f"{lab[name] - peer[name]:+.2f}" for name in ("user_us", "system_us"))
            busy = f"{share(lab['server_busy'])} and {share(peer['server_busy'])}"
            rows[against(one), peer["contender"]] = (*more, busy)
    how = {**MEASURES, "late": "", "own": ""}
    parts = [
        bullets(
            f"{one.load}, {one.wanted} {how[one.measure]}".strip() + f": {one.verdict}, {one.found}."
            for one in not_reached
        )
    ]
    if rows:
        columns = ("load", "than", "user", "system", "server busy, lab and it")
        parts.append("CPU µs an answer that the lab takes more than the fastest peer:")
        parts.append(table(columns, [(*key, *found) for key, found in rows.items()]))
    if others := faster_others(results):
        parts.append(f"Faster by rate than the lab, though no ambition is about it: {grouped(others)}.")
    return [*parts, *WHY, WHAT_WAS_DONE]


WHY = (
    "What an agent does and the C loop does not: it keeps deadlines, writes rows, reads the clock and judges answers. "
    "Two agents are two processes, wrk's two are threads of one. What each of these takes was not measured.",
    "An answer over a kept connection, or over HTTP/2, takes the kernel little, so that what an agent does itself is a "
    "larger share. Where the server is busy nearly all the time, rates are in part the server's.",
)
WHAT_WAS_DONE = """\
What the native agent does to take little: no allocation for a connection or a request; rows mapped from a file whose
pages are there before the storm, each value written where it belongs; answers compared with the last one, and parsed
where they differ; source ports from a list; sending at once instead of waiting for EPOLLOUT; one edge-triggered
registration for each connection; one system call to sleep and to fetch what has come; TCP_INFO at establishment only
where the connection took longer than two ticks of the kernel's clock. What is left of a new connection is the kernel's,
for the C loop as for the agent: connect, send, receive and close. Connections are closed as a client closes them,
without a reset.""".replace("\n", " ")


def warning(results: Json) -> list[str]:
    if not too_few(results):
        return []
    how = "small loads, " if results["quick"] else ""
    return [
        f"> **No result yet:** {how}{count(results['rounds'], 'round')}, and {results['rounds_wanted']} are the least. "
        "It shows the form of the page."
    ]


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
    missing = [f"{name} ({tool['source']})" for name, tool in tools.items() if tool["version"] is None]
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
        ("storm lab", f"{results['lab_version']}, {results['engine']} engine; Python {host.python}"),
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
        f"{percent(results['confidence'])} interval by Student's t on the logarithms; above 1 the lab is faster. By "
        "rate: answers from the first issue to the last answer; wrk counts the answers of whole seconds instead. By "
        "CPU: answers for a second of the generator's CPU, which others on the machine change less; for the other "
        "programs with their start and end, for the lab's agents from the moment they are ready to their report. "
        "*Own*: the user time's share of it, mean of the rounds. An ambition is *reached* or *missed* where the whole "
        "interval says so. *Server busy*: share of its CPU; *others*: what everybody else had of the server's or the "
        "generators' CPU, the larger."
    )


def section(results: Json, comparison: Json) -> list[str]:
    """One comparison: its table, its commands, and what is to be said of single rounds."""
    columns = (
        *("generator", "processes × threads", "answers/s", "lab ÷ it, by rate", "lab ÷ it, by CPU"),
        *("CPU µs an answer: user + system", "own", "server busy", "others", "failed"),
    )
    rows = []
    for each in comparison["contenders"]:
        known = each["rate_per_s"] is not None
        rows.append(
            (
                each["contender"],
                each["processes_threads"],
                f"{each['rate_per_s']:,.0f}" if known else NONE,
                interval(each["by_rate"], wanted(comparison, each)),
                interval(each["by_cpu"], wanted(comparison, each)),
                f"{each['user_us']:.2f} + {each['system_us']:.2f}" if known else NONE,
                share(each["user_share"]["mean"]) if each["user_share"] else NONE,
                share(each["server_busy"]) if known else NONE,
                share(each["others"]) if each["others"] is not None else NONE,
                f"{each['failed']:,}",
            )
        )
    goal = ""
    if comparison["ambition"] is not None and comparison["peers"]:
        whose = "each peer's speed" if len(comparison["peers"]) > 1 else f"{comparison['peers'][0]}'s"
        goal = f" Ambition: {comparison['ambition']:.2f} of {whose}."
    remarks = comparison["remarks"]
    more = len(remarks) - REMARKS_SHOWN
    notes = remarks[:REMARKS_SHOWN] + ([f"and {more:,} more of this kind"] if more > 0 else [])
    return [
        f"### {comparison['name'].capitalize()}",
        f"{describe(comparison)}{goal}",
        table(columns, rows, right=columns[2:]),
        commands(comparison),
        *([bullets(notes)] if notes else []),
    ]


def wanted(comparison: Json, contender: Json) -> float | None:
    """The ambition, where it is about this contender."""
    return comparison["ambition"] if contender["contender"] in comparison["peers"] else None


def describe(comparison: Json) -> str:
    clients, each = comparison["clients"], comparison["requests_per_client"]
    if comparison["connections"]:
        return f"{count(clients, 'request')} over {count(comparison['connections'], 'connection')}."
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
    return ratio_text(found) + (f", {said}" if said else "")


def lateness(results: Json, drawn: Json) -> list[str]:
    parts: list[str] = []
    for number, one in enumerate(open_loops(results)):
        capacity = (
            f", half of the {results['capacity_per_s']:,.0f} that the lab's closed loop came to before the rounds"
        )
        parts.append(
            f"{describe(one).removesuffix('.')}{capacity}. Late is what is issued after the slot in which it was due. "
            "vegeta and oha give away when each request began, though not when it was due: the one that was least late "
            "counts as on time. The others cannot pace new connections, or do not say when they began."
        )
        parts += shown(drawn, "lateness" + (f"-{number + 1}" if number else ""))
        columns = (
            "p50",
            "p90",
            "p99",
            "p99, worst round",
            "max",
            "CPU µs an answer: user + system",
            "answers/s",
            "failed",
        )
        rows = []
        for each in one["contenders"]:
            late = each["lateness_us"]
            if late is None or each["rate_per_s"] is None:
                continue
            quantiles = [in_us(late[name]["median"]) for name in ("p50", "p90", "p99")]
            quantiles += [in_us(late["p99"]["worst"]), in_us(late["max"]["median"])]
            cpu = f"{each['user_us']:.2f} + {each['system_us']:.2f}"
            rows.append((each["contender"], *quantiles, cpu, f"{each['rate_per_s']:,.0f}", f"{each['failed']:,}"))
        parts += [table(("generator", *columns), rows, right=columns), commands(one)]
        parts += [bullets(one["remarks"][:REMARKS_SHOWN])] if one["remarks"] else []
    return parts or ["None was measured."]


def undecidable(results: Json) -> list[str]:
    """What the reader must not conclude, and why."""
    found = []
    if too_few(results):
        found.append("Anything: there are too few rounds, or the loads are too small.")
    for measure, how in MEASURES.items():
        names = [
            (one, each["contender"])
            for one, each in pairs(results)
            if verdict(each[measure], wanted(one, each)) == "undecided"
        ]
        if names:
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
        if trial["comparison"] == one["name"] and trial["contender"] == results["lab"] and trial.get("cpu_system_s")
    ]
    if ticks:
        found.append(
            "Who spends CPU time below the clock's grain: the sum is exact, but what of it is user time the kernel "
            f"samples in its ticks; {1000 * results['tick_s']:g} ms are up to {share(max(ticks), 1)} of the lab's time "
            "in its shortest trial. Over the rounds that evens out."
        )
    if results["host"]["virtualised"]:
        found.append(
            "What a machine without a hypervisor does: this one is virtual, and a hypervisor's work for it counts as "
            "system time."
        )
    found += [
        "Who is later in an open loop with keep-alive: `hey -q`, `bombardier -r` and `h2load --rps` do not say how "
        "late they were, and wrk2, which would, is not in Debian.",
        "What neper's tcp_crr would come to: it connects only to a server of its own, over a control connection, and "
        "speaks no HTTP.",
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
    sources = [tool["source"] for tool in results["tools"].values()]
    packages = sorted(source.removeprefix("Debian: ") for source in sources if source.startswith("Debian: "))
    built = [source for source in sources if not source.startswith("Debian: ")]
    flags = f"{' --quick' if results['quick'] else ''} --rounds {results['rounds']}"
    return [
        f"On a machine with nothing else to do, after `apt install {' '.join(packages)}`, `make setup` and "
        f"{and_list(f'`{source}`' for source in built)}; what is not there is left out:",
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
