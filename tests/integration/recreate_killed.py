"""Creates a container anew and kills itself at one step: ``python -m ... FOLDER SOCKET NAME KIND HOW``.

``KIND`` is the call of which the first is hit, and ``HOW`` is ``before`` or ``after`` it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import anyio

from aiidpd.components.containers.docker.actions import DockerActions
from tests.integration.recreate_site import Faulty, Site


async def recreate(folder: str, socket: str, name: str, kind: str, how: str) -> None:
    def end() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    actions = DockerActions(socket)
    faulty = Faulty(actions, at=0, how=f"cancelled {how}", kinds=(kind,), cancel=end)
    await Site(Path(folder), Path(socket), name).recreate(actions=faulty)


if __name__ == "__main__":
    anyio.run(recreate, *sys.argv[1:])
