"""``aiidpctl bench guard`` and ``upgrades``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiidpd.cli import job
from aiidpd.cli.session import DONE, FAILED, USAGE, Session
from aiidpd.components.bench import record_cli
from aiidpd.components.bench.guard.cli_text import plan_lines, upgrade_lines, upgrade_table
from aiidpd.history.cli import duration

_PATH = "/v1/bench/upgrades"
_NUMBERS = ("pairs", "slower", "agree", "swap_back", "ready", "settle", "drain", "minutes", "seed")
_SHIPPED = ("default", "seed")
_MOST_BYTES = 256 * 1024


def add(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add the commands to ``commands``, each with the ``common`` options."""
    guard = commands.add_parser(
        "guard",
        parents=[common],
        help="try another image in the place of a container, and keep it only if it is as good",
    )
    guard.add_argument("image", metavar="IMAGE", help="name or id of the new image")
    guard.add_argument("--for", dest="container", required=True, metavar="CONTAINER", help="its place")
    guard.add_argument("--apply", action="store_true", help="do it; without this, only the plan is shown")
    where = guard.add_mutually_exclusive_group()
    where.add_argument("--beside", action="store_true", default=None, help="run both at once")
    where.add_argument("--in-place", dest="beside", action="store_false", help="run one after the other")
    guard.add_argument("--endpoint", default="", metavar="NAME", help="the engine, where it is not found")
    guard.add_argument("--profile", default="default", metavar="NAME|FILE", help="criteria of acceptance")
    guard.add_argument("--pairs", type=int, metavar="N", help="measurements of each side (20)")
    guard.add_argument("--slower", type=share, metavar="5%", help="no figure may be slower by more (5%%)")
    guard.add_argument("--agree", type=share, metavar="50%", help="so many answers must be the same (50%%)")
    guard.add_argument("--swap-back", type=int, metavar="N", help="measure the old one again, N times")
    guard.add_argument("--ready", type=duration, metavar="TIME", help="until it must answer (10min)")
    guard.add_argument("--settle", type=duration, metavar="TIME", help="that it must stay well (60s)")
    guard.add_argument("--drain", type=duration, metavar="TIME", help="to wait for users (5min)")
    guard.add_argument("--minutes", type=float, metavar="N", help="for all measurements (60)")
    guard.add_argument("--seed", type=int, metavar="N", help="seed of the requests")
    job.add_no_wait(guard)
    guard.set_defaults(run=_guard)
    listed = commands.add_parser(
        "upgrades",
        parents=[common],
        help="list the upgrades under guard, show one, cancel the one that goes on",
    )
    listed.add_argument("id", nargs="?", metavar="ID", help="show this one")
    listed.add_argument("--cancel", action="store_true", help="put the old engine back")
    listed.set_defaults(run=_upgrades)


def share(text: str) -> float:
    """Return the share that ``5%`` or ``0.05`` is."""
    number = text.strip().removesuffix("%")
    try:
        found = float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no share, as 5% and 0.05 are") from None
    if not 0 <= found <= 10:  # noqa: PLR2004 -- ten times
        raise argparse.ArgumentTypeError(f"{text!r} is no share")
    return found


def result(session: Session, ended: Mapping[str, Any]) -> list[str]:
    """Return the upgrade that has ``ended``, nothing where it left no document."""
    try:
        document = session.client.get(f"{_PATH}/{ended['result']['upgrade']}")
    except Exception:  # noqa: BLE001 -- it was not stored: the job's own words are shown
        return []
    return upgrade_lines(document, session.paint)


def _guard(options: argparse.Namespace, session: Session) -> int:
    if not options.apply:
        return _plan(options, session)
    body: dict[str, Any] = {"container": options.container, "image": options.image}
    body |= {name: found for name in _NUMBERS if (found := getattr(options, name)) is not None}
    body |= {"endpoint": options.endpoint} if options.endpoint else {}
    body |= {} if options.beside is None else {"beside": options.beside}
    if options.profile not in _SHIPPED:
        try:
            with Path(options.profile).open(encoding="utf-8") as file:
                body["profile"] = file.read(_MOST_BYTES)
        except (OSError, UnicodeDecodeError) as error:
            session.report(f"cannot read {options.profile}: {getattr(error, 'strerror', 'it is no text')}")
            return USAGE
    else:
        body["profile"] = options.profile
    submitted = session.client.post(_PATH, body)
    if options.no_wait:
        if session.json:
            session.document(submitted)
        else:
            session.data(submitted["id"])
        return DONE
    code = job.follow(session, submitted["id"], {submitted["kind"]: result})
    if code != FAILED:
        return code
    outcome = session.client.get(f"/v1/jobs/{submitted['id']}")["result"].get("outcome")
    return USAGE if outcome == "not tried" else FAILED


def _plan(options: argparse.Namespace, session: Session) -> int:
    query: dict[str, Any] = {"container": options.container, "image": options.image}
    query |= {"endpoint": options.endpoint} if options.endpoint else {}
    query |= {} if options.beside is None else {"beside": str(options.beside).lower()}
    document = session.client.get("/v1/bench/plan", **query)
    if session.json:
        session.document(document)
    else:
        session.data(plan_lines(document, vars(options)))
    return USAGE if document["refusal"] else DONE


def _upgrades(options: argparse.Namespace, session: Session) -> int:
    if options.cancel:
        session.client.post(f"{_PATH}/cancel", {})
        session.report("the old engine is put back")
        return DONE
    return record_cli.show(options, session, _PATH, one=upgrade_lines, table=upgrade_table)
