"""Program behind ``aiidpctl bundle``: a request as JSON in, a document as JSON out; no daemon is needed."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from aiidpd.api.client import DEFAULT_SOCKET
from aiidpd.daemon.bundle.archive import contents, write
from aiidpd.daemon.bundle.known import Secrets
from aiidpd.daemon.bundle.members import Given, sources
from aiidpd.daemon.checks import config
from aiidpd.daemon.checks.surroundings import surroundings
from aiidpd.daemon.doctor import UNIT
from aiidpd.daemon.settings import DaemonSettings
from aiidpd.kernel.errors import AiidpdError


def bundle(request: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return what the archive has, after writing it unless ``request`` wants the list alone."""
    path = Path(request["config"]) if request["config"] else None
    around, _ = surroundings(UNIT)
    settings, lines = config.read(path, environ)
    folders = settings.table("daemon", DaemonSettings)
    chosen = request["socket"]
    control = chosen if chosen != DEFAULT_SOCKET else str(folders.runtime_directory / "control.sock")
    metrics = str(Path(control).parent / "metrics.sock")
    given = Given(path, environ, control, metrics, folders.state_directory)
    secrets = Secrets.of(settings, around, environ)
    found = contents(sources(given), secrets)
    at = time.time()
    answer = found.listed() | {"path": "", "unread": secrets.unread}
    answer["unread"] += [result.found for _, result in lines if "may not read" in result.found]
    if not request["list"]:
        name = request["file"] or time.strftime("aiidpd-bundle-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime(at))
        target = Path(name).absolute()
        write(target, found, at)
        answer["path"] = str(target)
    return answer


def main(source: TextIO, out: TextIO) -> int:
    """Answer one request."""
    try:
        answer = bundle(json.load(source), os.environ)
    except AiidpdError as error:
        answer = {"error": str(error)}
    json.dump(answer, out)
    out.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.stdin, sys.stdout))
