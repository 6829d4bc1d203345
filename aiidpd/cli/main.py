"""Command ``aiidpctl``: reads the command line, runs one command, turns errors into exit codes."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from functools import cache

from aiidpd import __version__
from aiidpd.api.client import DEFAULT_SOCKET, ControlClient, ControlError
from aiidpd.cli.session import FAILED, INTERRUPTED, PIPE_CLOSED, Session, columns, give_up, paint_for
from aiidpd.cli.text import plain

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from typing import Any

SOCKET_VARIABLE = "AIIDPCTL_SOCKET"

COMMANDS = {
    "status": (
        "aiidpd.daemon.cli:add_status",
        "how the daemon and its workers fare; fails where something is wrong",
    ),
    "events": ("aiidpd.history.cli:add", "what happened and was decided"),
    "alerts": ("aiidpd.alerts.cli:add", "what fires or is about to"),
    "runbook": ("aiidpd.alerts.cli_runbook:add", "what to do about an alert"),
    "gpu": ("aiidpd.components.thermal.cli.gpu:add", "the GPUs"),
    "incidents": ("aiidpd.incidents.cli:add", "what was so around what went wrong"),
    "containers": ("aiidpd.components.containers.cli:add", "the containers"),
    "engines": ("aiidpd.components.engines.cli:add", "the inference engines"),
    "audit": (
        "aiidpd.components.audit.cli:add",
        "what is not secured as it should be; compose files too",
    ),
    "backup": ("aiidpd.components.backup.cli:add", "run a backup, list the snapshots"),
    "models": ("aiidpd.components.models.cli:add", "the models on this machine"),
    "bench": ("aiidpd.components.bench.cli:add", "measure the endpoints, list the last figures"),
    "secrets": ("aiidpd.components.secrets.cli:add", "keys of inference servers: make, verify, rotate"),
    "physics": (
        "aiidpd.components.physics.cli:add",
        "limits, expected speeds, what fits, and claims",
    ),
    "jobs": ("aiidpd.daemon.cli:add_jobs", "the work that was requested"),
    "notify": ("aiidpd.alerts.cli_notify:add", "show what is grave on this desktop"),
    "bundle": ("aiidpd.daemon.cli_bundle:add", "write an archive for a report of a fault, without secrets"),
    "config": ("aiidpd.daemon.cli:add_config", "the configuration in force"),
    "reload": ("aiidpd.daemon.cli:add_reload", "read the configuration again"),
}
"""Each command's function that gives a parser its options, as ``module:name``, and help.

A string, so that only the module of the command that is called is imported.
"""

_JSON = "print the API's own documents"
_EXIT_CODES = """\
exit codes: 0 done, 1 failed or unhealthy, 2 usage, 3 daemon not reachable, 4 denied, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (those of the process) name; return the exit code.

    Raises :class:`SystemExit` where they request help or the version, or are no command.
    """
    _open_closed()
    try:
        try:
            return _run(sys.argv[1:] if arguments is None else list(arguments))
        finally:
            sys.stdout.flush()  # of a help text too
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        give_up(sys.stdout)  # whoever read has enough
        return PIPE_CLOSED
    except OSError as error:
        give_up(sys.stdout)
        _complain(f"cannot write what was found: {error.strerror or error}")
        return FAILED


def _run(arguments: Sequence[str]) -> int:
    options = parser(arguments).parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # whatever the terminal can't show
    with ControlClient(options.socket) as client:
        session = Session(client, options.json, sys.stdout, sys.stderr, paint_for(sys.stdout))
        try:
            code: int = options.run(options, session)
        except ControlError as error:
            _complain(str(error))
            return error.exit_code
    return code


def _complain(words: str) -> None:
    """Write ``words`` for the person, if that is possible: the exit code reports the outcome all the same."""
    try:
        sys.stderr.write(f"aiidpctl: {plain(words)}\n")
        sys.stderr.flush()
    except OSError:
        give_up(sys.stderr)


def _open_closed() -> None:
    """Lead the standard streams nowhere that were closed at the start: Python has None in their place."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 -- loads no pathlib


def parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser for ``arguments``: of commands that these don't name it knows only the name."""
    default = os.environ.get(SOCKET_VARIABLE) or DEFAULT_SOCKET
    top = _Parser(
        prog="aiidpctl",
        description="Show and control aiidpd.",
        epilog=_EXIT_CODES,
        formatter_class=_TopFormatter,
    )
    top.add_argument(
        "--socket",
        metavar="PATH",
        default=default,
        help=f"the daemon's control socket (${SOCKET_VARIABLE}, or {DEFAULT_SOCKET})",
    )
    top.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    top.add_argument("--json", action="store_true", help=_JSON)
    # The same once more after the command, where most people write it; unset there it changes nothing.
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=_JSON)
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND", prog=top.prog)
    for name, (add, about) in COMMANDS.items():
        if name not in arguments:
            commands.add_parser(name, help=about, named=False)
            continue
        command = commands.add_parser(name, help=about, description=about, parents=[common])
        module, function = add.split(":")
        getattr(importlib.import_module(module), function)(command, common)
    return top


_columns = cache(columns)


class _Formatter(argparse.HelpFormatter):
    """As wide as the terminal: to learn that, the one that it inherits from loads ``shutil``."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


class _TopFormatter(_Formatter, argparse.RawDescriptionHelpFormatter):
    """Leaves the lines of the epilog as they are."""


class _Parser(argparse.ArgumentParser):
    """One that is not ``named`` only has its place in a list: it parses nothing, and takes no time."""

    def __init__(self, *, named: bool = True, **options: Any) -> None:
        if named:
            super().__init__(**{"formatter_class": _Formatter} | options)


if __name__ == "__main__":
    sys.exit(main())
