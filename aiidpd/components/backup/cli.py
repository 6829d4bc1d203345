"""``aiidpctl backup``: run one, list, verify, restore, prove, prune, pin."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aiidpd.cli import job
from aiidpd.cli.arguments import size_argument
from aiidpd.cli.session import DONE, USAGE, Session
from aiidpd.cli.text import plain
from aiidpd.components.backup.cli_prune import prune_lines
from aiidpd.components.backup.cli_text import snapshot_lines, snapshot_table, store_lines
from aiidpd.components.backup.offsite import cli as offsite


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one it lists the snapshots."""
    parser.set_defaults(run=_list)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    run = commands.add_parser("run", parents=[common], help="back up now, and wait for the end")
    job.add_no_wait(run)
    run.set_defaults(run=_run)
    adopt = commands.add_parser(
        "adopt", parents=[common], help="back up to the target as it is, though it is another one than so far"
    )
    job.add_no_wait(adopt)
    adopt.set_defaults(run=_adopt)
    commands.add_parser("list", parents=[common], help="list the snapshots").set_defaults(run=_list)
    show = commands.add_parser("show", parents=[common], help="one snapshot, or the newest")
    show.add_argument("snapshot", metavar="SNAPSHOT", nargs="?", default="", help="its name in the list")
    show.set_defaults(run=_show)
    _add_verify(commands, common)
    _add_restore(commands, common)
    drill = commands.add_parser(
        "drill", parents=[common], help="prove on a sample that a restore works; it is removed again"
    )
    drill.add_argument("--size", type=size_argument, default=0, help="of the sample at most: 5GiB")
    job.add_no_wait(drill)
    drill.set_defaults(run=_drill)
    prune = commands.add_parser("prune", parents=[common], help="remove the snapshots that are not kept")
    prune.add_argument("--dry-run", action="store_true", help="say which and why, and remove nothing")
    job.add_no_wait(prune)
    prune.set_defaults(run=_prune)
    pin = commands.add_parser("pin", parents=[common], help="keep a snapshot whatever its age")
    pin.add_argument("snapshot", metavar="SNAPSHOT", help="its name in the list")
    pin.add_argument("--reason", default="", help="why, for whoever reads the list")
    pin.set_defaults(run=_pin)
    unpin = commands.add_parser("unpin", parents=[common], help="let a snapshot go again as it ages")
    unpin.add_argument("snapshot", metavar="SNAPSHOT", help="its name in the list")
    unpin.set_defaults(run=_unpin)
    offsite.add(
        commands.add_parser("offsite", parents=[common], help="repositories elsewhere, by restic and rclone"),
        common,
    )


def _add_verify(commands: Any, common: argparse.ArgumentParser) -> None:
    verify = commands.add_parser(
        "verify", parents=[common], help="read what is stored, heal what is damaged; fails where something is"
    )
    verify.add_argument("snapshot", metavar="SNAPSHOT", nargs="?", default="", help="this one alone")
    much = verify.add_mutually_exclusive_group()
    much.add_argument("--full", action="store_true", help="all of it; without: what is due")
    much.add_argument("--sample", type=float, metavar="PERCENT", help="so much of it, drawn at random")
    verify.add_argument("--no-heal", action="store_true", help="only name what is damaged")
    job.add_no_wait(verify)
    verify.set_defaults(run=_verify)


def _add_restore(commands: Any, common: argparse.ArgumentParser) -> None:
    restore = commands.add_parser(
        "restore", parents=[common], help="restore all of a snapshot, or some paths of it"
    )
    restore.add_argument("paths", metavar="PATH", nargs="*", help="in the snapshot; patterns too")
    restore.add_argument(
        "--snapshot", metavar="SNAPSHOT", default="", help="its name in the list; the newest"
    )
    where = restore.add_mutually_exclusive_group(required=True)
    where.add_argument("--to", metavar="FOLDER", default="", help="a folder of this machine, which is made")
    where.add_argument("--in-place", action="store_true", help="to the source itself")
    differs = restore.add_mutually_exclusive_group()
    differs.add_argument("--overwrite", action="store_true", help="replace files that differ, newer ones too")
    differs.add_argument(
        "--skip", action="store_true", help="leave files that differ, and restore the others"
    )
    restore.add_argument("--owner", action="store_true", help="give files their owners too (needs root)")
    restore.add_argument("--dry-run", action="store_true", help="say what would be done, and write nothing")
    job.add_no_wait(restore)
    restore.set_defaults(run=_restore)


def _run(options: argparse.Namespace, session: Session) -> int:
    return job.start(session, "/v1/backup/runs", {}, result, wait=not options.no_wait)


def _adopt(options: argparse.Namespace, session: Session) -> int:
    return job.start(session, "/v1/backup/runs", {"adopt": True}, result, wait=not options.no_wait)


def _verify(options: argparse.Namespace, session: Session) -> int:
    body: dict[str, Any] = {"snapshot": options.snapshot, "heal": not options.no_heal}
    if options.full or options.snapshot:
        body["mode"] = "full"
    elif options.sample is not None:
        body |= {"mode": "sample", "share": options.sample / 100}
    return job.start(session, "/v1/backup/verifications", body, result, wait=not options.no_wait)


def _restore(options: argparse.Namespace, session: Session) -> int:
    conflicts = "overwrite" if options.overwrite else "skip" if options.skip else "refuse"
    body = {
        "to": str(Path.cwd() / options.to) if options.to else "",
        "snapshot": options.snapshot,
        "paths": options.paths,
        "conflicts": conflicts,
        "owner": options.owner,
        "dry_run": options.dry_run,
    }
    return job.start(session, "/v1/backup/restores", body, result, wait=not options.no_wait)


def _drill(options: argparse.Namespace, session: Session) -> int:
    return job.start(session, "/v1/backup/drills", {"size": options.size}, result, wait=not options.no_wait)


def _prune(options: argparse.Namespace, session: Session) -> int:
    body = {"dry_run": options.dry_run}
    return job.start(session, "/v1/backup/prunes", body, _pruned, wait=not options.no_wait)


def _pin(options: argparse.Namespace, session: Session) -> int:
    body = {"snapshot": options.snapshot, "reason": options.reason or "pinned by hand"}
    return job.start(session, "/v1/backup/pins", body, result, wait=True)


def _unpin(options: argparse.Namespace, session: Session) -> int:
    return job.start(session, "/v1/backup/pins", {"snapshot": options.snapshot}, result, wait=True)


def result(session: Session, job: Mapping[str, Any]) -> list[str]:
    """Return what came of a ``job`` about backups, in a sentence."""
    del session
    summary = job["result"].get("summary")
    return [plain(summary)] if summary else []


def _pruned(session: Session, job: Mapping[str, Any]) -> list[str]:
    """Return the decision on each snapshot."""
    last = session.client.get("/v1/backup/retention")["last"]
    return result(session, job) if last is None else prune_lines(last, session.paint)


def _list(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/backup/snapshots")
    if session.json:
        session.document(document)
        return DONE
    if document["reason"]:  # then the target may not have been read
        session.report(document["reason"])
    elif document["configured"] and not document["snapshots"]:
        session.report(f"there are no snapshots in {document['target']}")
    now = time.time()
    session.data(snapshot_table(document["snapshots"], now, session.paint))
    session.data(store_lines(document, now, session.paint))
    return DONE


def _show(options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/backup/snapshots")
    found = [each for each in document["snapshots"] if options.snapshot in ("", each["id"])]
    if not found:
        there = ", ".join(each["id"] for each in document["snapshots"][-3:])
        if document["reason"]:
            session.report(document["reason"])
        elif not there:
            session.report(f"there are no snapshots in {document['target'] or 'a target, as none is set'}")
        else:
            session.report(f"there is no snapshot {options.snapshot}; the newest: {there}")
        return USAGE
    if session.json:
        session.document(found[-1])
    else:
        session.data(snapshot_lines(document, found[-1], time.time(), session.paint))
    return DONE
