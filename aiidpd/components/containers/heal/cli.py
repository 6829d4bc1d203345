"""``aiidpctl containers heal``, ``unpark`` and ``healing``: heals by hand, and who is healed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from aiidpd.cli import job
from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.cli.text import plain, span
from aiidpd.components.containers.heal.cli_text import heal_result, healing_table, plan_lines
from aiidpd.history.cli import duration


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Give ``commands``, those of ``aiidpctl containers``, the ones about heals."""
    heal = commands.add_parser(
        "heal", parents=[common], help="restart a container: evidence first, and see that it is well"
    )
    heal.add_argument("name", metavar="NAME", help="the container")
    heal.add_argument("--recreate", action="store_true", help="create it anew, as it was created")
    heal.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    job.add_no_wait(heal)
    heal.set_defaults(run=_heal)
    unpark = commands.add_parser(
        "unpark", parents=[common], help="give a container that is left alone a new budget of heals"
    )
    unpark.add_argument("name", metavar="NAME", help="the container")
    unpark.set_defaults(run=_unpark)
    healing = commands.add_parser("healing", parents=[common], help="which containers are healed, and how")
    healing.set_defaults(run=_list)
    acts = healing.add_subparsers(title="commands", metavar="COMMAND")
    acts.add_parser("list", parents=[common], help="show which containers are healed").set_defaults(run=_list)
    suspend = acts.add_parser(
        "suspend", parents=[common], help="take a container out of healing; it is not touched"
    )
    suspend.add_argument("name", metavar="NAME", help="the container")
    suspend.add_argument(
        "--for", dest="seconds", type=duration, metavar="TIME", help='resume after "30min", "2h", "7d"'
    )
    suspend.set_defaults(run=_suspend)
    resume = acts.add_parser("resume", parents=[common], help="heal a container again")
    resume.add_argument("name", metavar="NAME", help="the container")
    resume.set_defaults(run=_resume)


def _heal(options: argparse.Namespace, session: Session) -> int:
    cure = "recreate" if options.recreate else "restart"
    if options.dry_run:
        plan = session.client.get("/v1/healing/plan", container=options.name, cure=cure)
        if session.json:
            session.document(plan)
        else:
            session.data(plan_lines(plan))
        return FAILED if plan["refusal"] else DONE
    body, wait = {"container": options.name, "cure": cure}, not options.no_wait
    return job.start(session, "/v1/healing/heals", body, _result, wait=wait)


def _result(_session: Session, document: Mapping[str, Any]) -> list[str]:
    return heal_result(document)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/healing")
    if session.json:
        session.document(document)
    else:
        if document["dry_run"]:
            session.report("dry run: nothing is healed by itself (containers.heal.dry_run)")
        if document["reason"]:
            session.report(document["reason"])
        elif not document["containers"]:
            session.report("there are no containers")
        session.data(healing_table(document, session.paint))
    return FAILED if document["reason"] else DONE


def _unpark(options: argparse.Namespace, session: Session) -> int:
    document = session.client.post("/v1/healing/unpark", {"container": options.name})
    return _answered(session, document, "has a new budget, and is healed again")


def _suspend(options: argparse.Namespace, session: Session) -> int:
    body = {"container": options.name}
    body |= {} if options.seconds is None else {"seconds": options.seconds}
    document = session.client.post("/v1/healing/suspend", body)
    until = "" if options.seconds is None else f" for {span(options.seconds)}"
    ends = f"`aiidpctl containers healing resume {plain(document['name'])}` ends that"
    return _answered(session, document, f"is not healed{until}; {ends}")


def _resume(options: argparse.Namespace, session: Session) -> int:
    document = session.client.post("/v1/healing/resume", {"container": options.name})
    return _answered(session, document, "is healed again")


def _answered(session: Session, document: dict[str, Any], words: str) -> int:
    if session.json:
        session.document(document)
    else:
        session.report(f"{plain(document['name'])} {words}")
    return DONE
