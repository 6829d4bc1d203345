"""Program `python -m aiidpd.gate`: listens where systemd says so, or at --listen PATH."""

from __future__ import annotations

import gc
import os
import sys
from typing import Final

from aiidpd.gate.load import SettingsFile
from aiidpd.gate.log import INFO, Log
from aiidpd.gate.server import Manager, Server, handed_over, listen
from aiidpd.gate.settings import WrongSettings

CONFIG: Final = "/etc/aiidpd/gate.toml"
_USAGE: Final = "usage: python -m aiidpd.gate [--config FILE] [--listen PATH] [--check]"


def main(arguments: list[str]) -> int:
    """Run the gate until it is killed; return 2 where that can't be."""
    options = {"--config": CONFIG, "--listen": ""}
    left, check = list(arguments), False
    while left:
        key = left.pop(0)
        if key == "--check":
            check = True
        elif key in options and left:
            options[key] = left.pop(0)
        else:
            return _fail(_USAGE)
    settings = SettingsFile(options["--config"])
    try:
        found = settings.read()
        if check:
            return 0
        listener = listen(options["--listen"]) if options["--listen"] else handed_over()
    except WrongSettings as error:
        return _fail(f"aiidpd-gate: {error}")
    except OSError as error:
        return _fail(f"aiidpd-gate: cannot listen on {options['--listen']}: {error.strerror}")
    if listener is None:
        return _fail(f"aiidpd-gate: systemd has handed no socket over; {_USAGE}")
    os.umask(0o077)
    log, manager = Log(), Manager()
    gc.freeze()
    manager.say("READY=1")
    log.line(INFO, f"ready before {found.engine}, {len(found.rules)} rules for containers")
    Server(listener, settings, log).run(manager.interval, lambda: manager.say("WATCHDOG=1"))
    return 0


def _fail(text: str) -> int:
    sys.stderr.write(f"{text}\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
