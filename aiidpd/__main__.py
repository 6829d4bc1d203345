"""Command ``aiidpd``: run the daemon, check a configuration, or show it all on this machine."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from aiidpd import __version__
from aiidpd.cli.session import FAILED, give_up
from aiidpd.kernel.errors import Misconfigured

USAGE_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0 done, 1 failed, 2 the configuration can't be used."""
    try:
        try:
            options = parser().parse_args(arguments)
        finally:
            sys.stdout.flush()  # of a help text
    except OSError as error:
        give_up(sys.stdout)
        print(f"aiidpd: cannot write: {error.strerror or error}", file=sys.stderr)
        return FAILED
    try:
        return int(options.command(options))
    except Misconfigured as error:
        print(f"aiidpd: {error}", file=sys.stderr)
        return USAGE_ERROR


def parser() -> argparse.ArgumentParser:
    """Return the parser, with every command."""
    top = argparse.ArgumentParser(
        "aiidpd", description="The on-call engineer of a machine that serves models."
    )
    top.add_argument("--version", action="version", version=f"aiidpd {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    for name, command, about in (
        ("run", _run, "run the daemon in the foreground"),
        (
            "check",
            _check,
            "read the configuration, report what is wrong with it, and exit (2 where it can't be used)",
        ),
    ):
        sub = commands.add_parser(name, help=about, description=about)
        sub.add_argument(
            "--config", type=Path, metavar="FILE", help="default: /etc/aiidpd/aiidpd.toml, if there is one"
        )
        sub.set_defaults(command=command)
    about = (
        "check this machine for what the daemon needs, which need not run; exit code 1 where something fails"
    )
    doctor = commands.add_parser("doctor", help=about, description=about)
    doctor.add_argument(
        "--config", type=Path, metavar="FILE", help="default: /etc/aiidpd/aiidpd.toml, if there is one"
    )
    doctor.add_argument("--json", action="store_true", help="print one document instead of lines")
    doctor.set_defaults(command=_doctor)
    about = (
        "put GPUs back to what they were before a governing daemon that ended, resume the containers that it "
        "paused, and start those that its heals have left down; no daemon may run"
    )
    restore = commands.add_parser("restore-gpus", help=about, description=about)
    restore.add_argument(
        "--config", type=Path, metavar="FILE", help="default: /etc/aiidpd/aiidpd.toml, if there is one"
    )
    restore.add_argument(
        "--to-default",
        action="store_true",
        help="give every GPU its default power limit and unlocked clocks, whatever it had before",
    )
    restore.add_argument(
        "--state-directory",
        type=Path,
        metavar="DIR",
        help="where the journals are; default: daemon.state_directory, also of a broken configuration",
    )
    restore.set_defaults(command=_restore_gpus)
    about = "run the daemon in a folder, on what this machine has; what is missing is SIMULATED"
    demo = commands.add_parser("demo", help=about, description=about)
    demo.add_argument(
        "--directory", type=Path, default=Path(".aiidpd"), metavar="DIR", help="default: .aiidpd"
    )
    demo.set_defaults(command=_demo)
    return top


def _check(options: argparse.Namespace) -> int:
    from aiidpd.config.load import load
    from aiidpd.daemon.folders import lacking, owners_for_check, refuse_unsafe_state
    from aiidpd.daemon.schema import SCHEMA
    from aiidpd.daemon.settings import DaemonSettings

    settings = load(SCHEMA, options.config, os.environ).settings
    state = settings.table("daemon", DaemonSettings).state_directory
    refuse_unsafe_state(state, owners_for_check(state))
    print("aiidpd: the configuration can be used", file=sys.stderr)
    for each in lacking(settings):
        print(f"aiidpd: a start as user {os.geteuid()} would fail: {each}", file=sys.stderr)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from aiidpd.daemon.doctor_text import show

    return show(options.config, os.environ, json=options.json)


def _run(options: argparse.Namespace) -> int:
    gc.disable()  # nothing that a start makes is garbage: collecting it would cost a tenth of the start
    from aiidpd.daemon.app import serve

    serve(options.config, os.environ)
    return 0


def _restore_gpus(options: argparse.Namespace) -> int:
    from aiidpd.daemon.restore import restore_gpus

    return restore_gpus(
        options.config, os.environ, state_directory=options.state_directory, to_default=options.to_default
    )


def _demo(options: argparse.Namespace) -> int:
    from aiidpd.demo.main import demo

    demo(options.directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
