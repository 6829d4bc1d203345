"""``aiidpctl status``, ``jobs``, ``config`` and ``reload``: the daemon as a whole."""

from __future__ import annotations

import time

from aiidpd.cli.session import DONE, FAILED, Session
from aiidpd.cli.text import table

TYPE_CHECKING = False  # without argparse twice: what a command imports, it waits for
if TYPE_CHECKING:
    import argparse


def add_status(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of ``status``."""
    parser.add_argument("--all", action="store_true", help="list every task of each component")
    parser.set_defaults(run=_status)


def add_jobs(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one it lists the jobs."""
    parser.set_defaults(run=_jobs)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    commands.add_parser("list", parents=[common], help="list the jobs").set_defaults(run=_jobs)
    follow = commands.add_parser("follow", parents=[common], help="follow one to its end")
    follow.add_argument("job", metavar="JOB", help="its id")
    follow.set_defaults(run=_follow)


def add_config(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options; without one it shows all settings."""
    parser.set_defaults(run=_config, origin=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    show = commands.add_parser("show", parents=[common], help="show every setting in force")
    show.add_argument("--origin", action="store_true", help="show which file and line or variable set it")
    show.set_defaults(run=_config)


def add_reload(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    """Give ``parser`` the options of ``reload``."""
    parser.set_defaults(run=_reload)


def _status(options: argparse.Namespace, session: Session) -> int:
    """Show everything; fail where a worker is not up or a condition of severity error is active."""
    status = session.client.get("/v1/status")
    if session.json:
        session.document(status)
    else:
        sections = ("/v1/gpus", "/v1/containers", "/v1/backup/snapshots", "/v1/bench/results")
        documents = [session.client.get(path) for path in sections]
        # Here, for no other command needs it.
        from aiidpd.daemon.cli_text import render_overview  # noqa: PLC0415

        session.data(render_overview(status, *documents, paint=session.paint, parts=options.all))
    return DONE if status["healthy"] else FAILED


def _jobs(_options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/jobs")
    if session.json:
        session.document(document)
        return DONE
    from aiidpd.cli.job import job_table  # noqa: PLC0415

    session.data(job_table(document["jobs"], time.time(), session.paint))
    if not document["jobs"]:
        session.report("there are no jobs")
    return DONE


def _follow(options: argparse.Namespace, session: Session) -> int:
    # Here, for no other command needs them.
    from aiidpd.cli import job  # noqa: PLC0415
    from aiidpd.components.backup import cli as backup  # noqa: PLC0415
    from aiidpd.components.bench import cli as bench  # noqa: PLC0415

    return job.follow(session, options.job, {"backup": backup.result, "bench": bench.result})


def _config(options: argparse.Namespace, session: Session) -> int:
    document = session.client.get("/v1/config")
    if session.json:
        session.document(document)
    elif options.origin:
        rows = [(entry["key"], entry["value"], entry["origin"]) for entry in document["entries"]]
        session.data(table(("KEY", "VALUE", "SET BY"), rows, session.paint))
    else:
        session.data(f"{entry['key']} = {entry['value']}" for entry in document["entries"])
    return DONE


def _reload(_options: argparse.Namespace, session: Session) -> int:
    """Reload; print the keys that changed."""
    document = session.client.post("/v1/config/reload")
    if session.json:
        session.document(document)
    else:
        session.data(document["changed"])
        if not document["changed"]:
            session.report("nothing had changed")
    return DONE
