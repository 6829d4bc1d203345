"""Program behind `aiidpctl audit` for files and rules: a request as JSON in, a document as JSON out.

A process of its own, since it needs a library for YAML, which the commands of aiidpctl do without.
"""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TextIO

from aiidpd.components.audit.compose.document import read
from aiidpd.components.audit.compose.edit import apply
from aiidpd.components.audit.compose.facts import facts_of
from aiidpd.components.audit.compose.kept import change, copy_of, undo
from aiidpd.components.audit.compose.pin import Describe, LocalEngine, pins
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.components.audit.compose.services import Project, load
from aiidpd.components.audit.document import document_of_finding
from aiidpd.components.audit.evaluate import of_container
from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.finding import Finding
from aiidpd.components.audit.rules.all import BY_ID, GROUPS
from aiidpd.kernel.errors import AiidpdError

_MOST_REQUEST: Final = 1 << 20


def judged(project: Project) -> list[tuple[str, str, int, Finding]]:
    """Return service, file, line and finding of whatever is wrong in ``project``, the gravest first."""
    found = []
    for name, service in project.services.items():
        try:
            facts = facts_of(name, service.value, str(service.directory.absolute()), project.volumes)
        except ComposeError as error:
            raise error.within(service.file) from None
        found += [(name, service.file, service.line, each) for each in of_container(facts, Facts())]
    return sorted(found, key=lambda each: (-each[3].severity, each[0], each[3].rule))


def compose(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the rules find in compose files."""
    project = load([Path(each) for each in request["files"]])
    findings = [
        asdict(document_of_finding(found, file=file, line=line)) for _, file, line, found in judged(project)
    ]
    return {"findings": findings, "subjects": {"service": len(project.services)}}


def fix(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return what mending the findings changes in a file; change it where that is requested."""
    path = Path(request["file"])
    if request["undo"]:
        undo(path)
        return {"undone": True, "diff": "", "applied": [], "left": []}
    wanted = set(request["rules"])
    if unknown := sorted(wanted - BY_ID.keys()):
        raise ComposeError(f"there is no rule {', '.join(unknown)[:200]}: see aiidpctl audit rules")
    before = text = read(path)
    directory = str(path.parent.absolute())
    applied: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    for name, file, _, found in judged(load([path])):
        if wanted and found.rule not in wanted:
            continue
        entry: dict[str, Any] = {"rule": found.rule, "service": name, "what": found.what}
        if not found.edits:
            left.append(entry | {"reason": found.remedy})
        elif found.guess and not request["guesses"]:
            left.append(entry | {"reason": "a person must choose the value", "lines": list(found.lines)})
        elif Path(file) != path:
            left.append(entry | {"reason": f"it is declared in {file}"})
        else:
            outcome = apply(text, name, found.edits, directory)
            text = outcome.text
            if outcome.applied:
                applied.append(entry)
            left += [entry | {"reason": reason, "lines": list(found.lines)} for _, reason in outcome.refused]
    return _written(path, (before, text), request, applied, left)


def pin(request: Mapping[str, Any], describe: Describe | None = None) -> dict[str, Any]:
    """Return what pinning the images changes in a file; change it where that is requested."""
    path = Path(request["file"])
    engine = describe or LocalEngine(Path(request["engine"])).describe
    before = text = read(path)
    applied: list[dict[str, Any]] = []
    left: list[dict[str, Any]] = []
    for each in pins(load([path]), engine):
        entry = {"rule": "image-unpinned", "service": each.service, "what": each.image}
        if not each.edits:
            left.append(entry | {"reason": each.reason})
            continue
        outcome = apply(text, each.service, each.edits, str(path.parent.absolute()))
        text = outcome.text
        if outcome.applied:
            applied.append(entry)
        left += [entry | {"reason": reason} for _, reason in outcome.refused]
    return _written(path, (before, text), request, applied, left)


def _written(
    path: Path,
    texts: tuple[str, str],
    request: Mapping[str, Any],
    applied: list[dict[str, Any]],
    left: list[dict[str, Any]],
) -> dict[str, Any]:
    before, after = texts
    difference = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), str(path), str(path)
    )
    changed = before != after
    if changed and request["apply"]:
        change(path, before, after)
    return {
        "undone": False,
        "written": changed and bool(request["apply"]),
        "kept": str(copy_of(path.resolve())) if changed and request["apply"] else "",
        "diff": "".join(difference),
        "applied": applied,
        "left": left,
    }


def rules(_: Mapping[str, Any]) -> dict[str, Any]:
    """Return every rule."""
    return {
        "rules": [
            {
                "id": each.id,
                "group": group,
                "severity": each.severity.word,
                "title": each.title,
                "why": each.why,
                "remedy": each.remedy,
                "cis": each.cis,
                "finds": " ".join((each.check.__doc__ or "").split()),
            }
            for group, members in GROUPS.items()
            for each in members
        ]
    }


COMMANDS: Final[Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]] = {
    "compose": compose,
    "fix": fix,
    "pin": pin,
    "rules": rules,
}


def main(given: TextIO, out: TextIO) -> int:
    """Answer the request in ``given``; return the exit code."""
    request = json.loads(given.read(_MOST_REQUEST))
    try:
        document = COMMANDS[request["command"]](request)
    except ComposeError as error:
        document = {"error": f"cannot use {error}"}
    except AiidpdError as error:
        document = {"error": str(error)}
    out.write(json.dumps(document))
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin, sys.stdout))
