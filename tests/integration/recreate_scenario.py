"""Kills processes that create a real container anew, one after the other, and reads each time what is left.

A program, so that several run side by side: ``python -m tests.integration.recreate_scenario FOLDER SOCKET
NAME SEED ROUNDS``. It prints one JSON object. Each round forks a process that recreates the container, kills
it at a random moment, and has the next process recover.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import anyio

from aiidpd.components.containers.recreate.journal import NAME, RecreationJournal
from tests.integration.recreate_site import Site
from tests.waiting import until

LONGEST = 1.6  # seconds, about what one takes here
BEGUN = 0.7  # of the kills come once it has begun


class Lane:
    """One kill after the other."""

    def __init__(self, folder: str, socket: str, name: str, seed: str) -> None:
        self.folder, self.socket, self.name = Path(folder), Path(socket), name
        self.random = random.Random(int(seed))
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    def site(self) -> Site:
        return Site(self.folder, self.socket, self.name)

    async def recreate(self) -> None:
        await self.site().recreate()

    async def facts(self) -> dict[str, object]:
        site = self.site()
        found = {**await site.facts(), "id": await site.id()}
        await site.aclose()
        return found

    async def judge(self, before: dict[str, object]) -> None:
        site = self.site()
        journal = RecreationJournal(site.folder / NAME)
        journal.load()
        self.seen["left a journal"] += bool(journal.active)
        for entry in journal.active:
            old = await site.actions.describe(entry.old)
            self.seen[f"{entry.phase}"] += 1
            self.seen["old was not running"] += old is None or old["State"]["Status"] != "running"
        await site.recover()
        old = before.pop("id")
        wrong = await site.wrong(before)
        self.wrong += wrong
        self.seen["right"] += not wrong
        self.seen["recreated" if old != await site.id() else "put back"] += 1
        await site.aclose()

    def begun(self) -> bool:
        """Return whether something is under way, by the journal."""
        journal = RecreationJournal(self.folder / NAME)
        journal.load()
        return bool(journal.active)

    def round(self) -> None:
        before = anyio.run(self.facts)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                anyio.run(self.recreate)
                code = 0
            finally:
                os._exit(code)
        longest = LONGEST
        if self.random.random() < BEGUN:  # however long the machine takes to come to it
            until(lambda: self.begun() or os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT))
            longest /= 2
        time.sleep(self.random.uniform(0, longest))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        anyio.run(self.judge, before)


def main(*arguments: str) -> None:
    *given, rounds = arguments
    lane = Lane(*given)
    for _ in range(int(rounds)):
        lane.round()
    sys.stdout.write(json.dumps({"seen": lane.seen, "wrong": lane.wrong}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
