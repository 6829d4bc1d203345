"""``aiidpctl audit``: what is not secured as it should be, in what runs and in compose files."""

from __future__ import annotations

import argparse

from aiidpd import __version__
from aiidpd.api.client import ControlError
from aiidpd.cli.session import DONE, FAILED, USAGE, Session
from aiidpd.cli.text import SIMULATED
from aiidpd.cli.tool import answer
from aiidpd.components.audit.cli_text import (
    LEVELS,
    changed_lines,
    explained,
    finding_lines,
    reaches,
    rule_table,
    summary_line,
)
from aiidpd.components.audit.sarif import sarif

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

TOOL = "aiidpd.components.audit.tool"
_FILE = "compose.yaml"
_ENGINE = "/run/docker.sock"
_FORMATS = ("table", "json", "sarif")


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one, what runs is audited."""
    _add_output(parser)
    parser.set_defaults(run=_audit)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    one = commands.add_parser("compose", parents=[common], help="audit compose files; needs no daemon")
    one.add_argument("files", metavar="FILE", nargs="+", help="laid over each other, as compose -f does")
    _add_output(one)
    one.set_defaults(run=_compose)
    one = commands.add_parser("fix", parents=[common], help="show how to mend a compose file, or mend it")
    _add_change(one)
    one.add_argument("--rule", metavar="RULE", action="append", default=[], help="of this rule alone")
    one.add_argument("--guesses", action="store_true", help="also lines whose values a person should choose")
    one.add_argument("--undo", action="store_true", help="put back what was there before the last change")
    one.set_defaults(run=_fix)
    one = commands.add_parser("pin", parents=[common], help="write digests of images that this machine has")
    _add_change(one)
    one.add_argument("--engine", metavar="PATH", default=_ENGINE, help=f"socket of the engine ({_ENGINE})")
    one.set_defaults(run=_pin)
    commands.add_parser("rules", parents=[common], help="list the rules").set_defaults(run=_rules)
    one = commands.add_parser("explain", parents=[common], help="all that is known of one rule")
    one.add_argument("rule", metavar="RULE", help="its name in the list")
    one.set_defaults(run=_explain)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=_FORMATS, default="table", help="table, json or sarif (2.1.0)")
    parser.add_argument(
        "--fail-on", choices=(*LEVELS, "never"), default="high", help="fail from this severity on (high)"
    )


def _add_change(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", default=_FILE, help=f"the compose file ({_FILE})")
    parser.add_argument("--apply", action="store_true", help="write it; without this it is only shown")


def _audit(options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/audit")
    return _show(options, session, document)


def _compose(options: argparse.Namespace, session: Session) -> int:
    document = _answer({"command": "compose", "files": options.files})
    return _show(options, session, document)


def _show(options: argparse.Namespace, session: Session, document: Mapping[str, Any]) -> int:
    findings = document["findings"]
    if session.json or options.format == "json":
        session.document(document)
    elif options.format == "sarif":
        session.document(sarif(findings, __version__))
    else:
        if document.get("simulated"):
            session.report(f"{SIMULATED}: these findings are made up")
        if document.get("reason"):
            session.report(document["reason"])
        session.data(finding_lines(document, session.paint))
        session.report(summary_line(document))
    if document.get("read_at", 0) is None:
        return FAILED
    return FAILED if any(reaches(each, options.fail_on) for each in findings) else DONE


def _fix(options: argparse.Namespace, session: Session) -> int:
    request = {"command": "fix", "file": options.file, "undo": options.undo, "apply": options.apply}
    return _changed(session, _answer(request | {"rules": options.rule, "guesses": options.guesses}))


def _pin(options: argparse.Namespace, session: Session) -> int:
    request = {"command": "pin", "file": options.file, "apply": options.apply, "engine": options.engine}
    return _changed(session, _answer(request))


def _changed(session: Session, document: Mapping[str, Any]) -> int:
    if session.json:
        session.document(document)
        return DONE
    session.data(changed_lines(document, session.paint))
    if document["undone"]:
        session.report("what was there before is back")
    elif document["written"]:
        session.report(f"written; --undo puts back what was before, which is in {document['kept']}")
    elif document["applied"]:
        session.report("nothing is written yet: add --apply")
    return DONE


def _rules(_options: argparse.Namespace, session: Session) -> int:
    document = _answer({"command": "rules"})
    if session.json:
        session.document(document)
    else:
        session.data(rule_table(document, session.paint))
    return DONE


def _explain(options: argparse.Namespace, session: Session) -> int:
    rules = _answer({"command": "rules"})["rules"]
    found = next((each for each in rules if each["id"] == options.rule), None)
    if found is None:
        raise _Refused(f"there is no rule {options.rule}: see aiidpctl audit rules")
    if session.json:
        session.document(found)
    else:
        session.data(explained(found, session.paint))
    return DONE


class _Refused(ControlError):
    """A file or rule with which nothing can be done."""

    exit_code = USAGE


def _answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer of the program that reads files; raises :class:`ControlError`."""
    return answer(TOOL, request, "reads files", _Refused)
