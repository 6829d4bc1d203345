"""A daemon that heals, in a process of its own, to be killed: watcher, healer, journal and adapters are real.

``python -m tests.integration.heal_scenario FOLDER SOCKET OWN`` prints the kind of each event about heals, and
``evidence`` when it is collected.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from aiidpd.components.containers.heal.protocols import HealSubject
from aiidpd.kernel.events import Event
from tests.fakes.healing import Healing

GRACE = 0.5  # seconds that a container has to end: it needs all of it


async def main(folder: Path, socket: Path, own: str) -> None:
    """Heal until killed."""
    healing = Healing(
        folder, socket, own, budget="1000/1h", backoff_initial=0.0, backoff_cap=0.0, stop_grace=GRACE
    )

    healing.settle = 8.0  # a busy engine may still be at the restart that an earlier process has called for

    def say(*words: str) -> None:
        sys.stdout.write(f"{' '.join(words)}\n")
        sys.stdout.flush()

    def published(event: Event) -> None:
        if "heal_" in event.kind:
            say(event.kind.removeprefix("container."), str(event.evidence.get("outcome", "")))

    async def collected(_subject: HealSubject) -> None:
        say("evidence")
        await anyio.sleep(0.05)

    healing.bus.attach(events=published)
    healing.collector.before = collected
    async with healing.running():
        say("runs")
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
