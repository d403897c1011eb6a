"""An attack as its caller sees it: a plan goes in, a record comes out, kept as one JSON file."""

from __future__ import annotations

import datetime as dt
import json
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import MachineError, StormLabError
from harness.events.records import FOLDER, recorded
from harness.events.store import cannot_write, write_whole
from harness.machine import chamber
from harness.machine.host import this_host
from harness.machine.ports import PRIVATE_PORT
from harness.plan.attack import Attack, AttackPlan
from harness.servers import catalogue
from harness.servers.build import BuildError, Missing, run_step
from harness.trial.foreign import tools
from harness.trial.foreign.chamber import OUTPUT, RESULTS, SERVER_LOG

LOG_KEPT = 400
Reader = Callable[[str, str, str], dict[str, Any] | None]
"""Makes of (what a tool speaks, its results, its output) what is kept of them: :func:`harness.thought.said.read`."""


def run_attack(attack: Attack, data: Path, read: Reader) -> dict[str, Any]:
    """Run one attack and keep its record.

    Raises:
        PlanError: tool, server or an option is unknown.
        MachineError: it cannot be run here, or did not end or report; nothing is kept.
        ServerError: the server was never ready.
        KeyboardInterrupt: interrupted; everything is ended.
    """
    why_not = missing_for(attack)
    if why_not is not None:
        raise MachineError(f"this attack cannot be run here: {why_not.line}")
    now = dt.datetime.now(dt.UTC)
    with chamber.folder("stormlab-attack-") as folder:
        folder.chmod(0o755)
        job = {"attack": attack.to_json(), "folder": str(folder)}
        seen = chamber.call("harness.trial.foreign.chamber", job, attack.tool)
        record = _record(attack, now, seen, folder, read)
    path = data / FOLDER / f"{record['run_id']}.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    except OSError as error:
        raise cannot_write(data, error) from error
    return record


def missing_for(attack: Attack) -> Missing | None:
    """Why an attack cannot be run here, or None; asked before anything is started."""
    for unit in (tools.find(attack.tool).unit, tools.unit_of(attack.server)):
        if unit is not None and (lacking := unit.missing) is not None:
            return Missing(f"{unit.name}: {lacking.reason}", lacking.next_step)
    return catalogue.known(attack.server).missing_for(attack.server)


def identity(attack: Attack) -> tuple[str, str, str]:
    """(plan hash, host, hash of server and tool): records of the same identity repeat each other."""
    server = catalogue.identity_hash(catalogue.find(attack.server), attack.server)
    tool = catalogue.binary_hash([str(tools.find(attack.tool).path)])
    return attack.plan_hash, this_host().host_id, f"{server}-{tool}"


def completed(plan: AttackPlan, data: Path, say: Callable[[str], None], read: Reader) -> list[dict[str, Any]]:
    """The newest ``repeats`` records of each attack on this machine; what has not been run is run now, in shuffled
    repeats. Attacks that cannot be run here are left out with a line for each reason.
    """
    why_not = {attack: missing_for(attack) for attack in plan.attacks}
    for lacking in dict.fromkeys(why_not.values()):
        if lacking is not None:
            say(f"left out: {lacking.line}")
    possible = [attack for attack, lacking in why_not.items() if lacking is None]
    for entry in dict.fromkeys(catalogue.known(attack.server) for attack in possible):
        catalogue.announce(entry, say)
    known = _newest_first(data, say)
    left = {attack: plan.repeats - len(known.get(identity(attack), [])) for attack in possible}
    total, done = sum(max(0, number) for number in left.values()), 0
    rng = np.random.default_rng()
    while block := [attack for attack, number in left.items() if number > 0]:
        for index in rng.permutation(len(block)):
            attack, done = block[index], done + 1
            say(f"[{done}/{total}] {attack.tool} {attack.typed_options} at {attack.target}")
            known.setdefault(identity(attack), []).insert(0, run_attack(attack, data, read))
            left[attack] -= 1
    return [record for attack in possible for record in known.get(identity(attack), [])[: plan.repeats]]


def _newest_first(data: Path, say: Callable[[str], None]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    known: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for record in recorded(data, say):
        key = (record["plan_hash"], record["host"]["host_id"], record["binary_hash"])
        known.setdefault(key, []).insert(0, record)
    return known


def _record(attack: Attack, now: dt.datetime, observed: dict[str, Any], folder: Path, read: Reader) -> dict[str, Any]:
    tool = tools.find(attack.tool)
    output = results = (folder / OUTPUT).read_text(errors="replace")
    if tool.speaks == "vegeta":
        try:
            report = run_step([str(tool.path), "report", str(folder / RESULTS)], folder, limit_s=60)
            results = run_step([str(tool.path), "encode", "-to=csv", str(folder / RESULTS)], folder, limit_s=60)
        except BuildError as error:
            wrote = next(iter(output.strip().splitlines()), str(error))
            raise MachineError(
                f"{attack.tool} left nothing that it can report of ({observed['tool_ended']}): {wrote[:LOG_KEPT]}",
                f"try its options by hand: {attack.typed_options}",
            ) from error
        output = report
    said = read(tool.speaks, results, output)
    if said is None:
        raise StormLabError(f"{attack.tool} {observed['tool_ended']}: {output.strip()[-LOG_KEPT:]}")
    return {
        "run_id": f"{now:%Y%m%d-%H%M%S}{now.microsecond // 1000:03d}-{attack.tool}-{secrets.token_hex(2)}",
        "begun": now.isoformat(timespec="seconds"),
        "plan_hash": attack.plan_hash,
        "plan": attack.to_json(),
        "host": this_host().to_json(),
        "binary_hash": identity(attack)[2],
        "tool": {
            "name": attack.tool,
            "version": tool.version,
            "as_typed": tool.as_typed(attack.typed_options, f"http://{attack.target}:{PRIVATE_PORT}/"),
        },
        "server": {
            "name": attack.server.name,
            "version": _server_version(attack) or observed["announced"],
            "log": _log_tail(folder),
        },
        "said": said,
        "observed": observed,
    }


def _server_version(attack: Attack) -> str:
    unit = tools.unit_of(attack.server)
    if unit is None:
        return catalogue.known(attack.server).version
    return ", ".join(f"{name} {unit.versions[name]}" for name in ("hyper", "tokio", "mio"))


def _log_tail(folder: Path) -> str:
    try:
        log = (folder / SERVER_LOG).read_text(errors="replace")
    except OSError:
        return ""
    return log.strip()[-LOG_KEPT:]
