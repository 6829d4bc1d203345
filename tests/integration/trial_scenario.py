"""Kills processes that try another image in the place of a real container, and reads each time what is left.

A program, so that several run side by side: ``python -m tests.integration.trial_scenario FOLDER SOCKET NAME
IMAGES SEED [gated] ROUNDS`` (``IMAGES`` is the old one, a comma, the new one; ``gated``: the socket is the
gate's). It prints one JSON object. Each round forks a process that tries the image, in its place or beside,
back and forth, and now and then to keep it; kills it at a random moment; and has the next process do what it
finds.
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

from aiidpd.components.containers.trial.journal import NAME, TrialJournal
from aiidpd.components.containers.trial.state import Phase
from aiidpd.contracts.trials import Wish
from tests.integration.trial_site import TrialSite, inspected, names

LONGEST = 6.0  # seconds, about what one takes here
COURSES = (
    (Wish.OLD, Wish.NEW, Wish.BACK),
    (Wish.NEW, Wish.OLD, Wish.NEW, Wish.BACK),
    (Wish.BESIDE, Wish.NEW, Wish.BACK),
    (Wish.NEW, Wish.KEEP),
)


class Lane:
    """One kill after the other."""

    def __init__(self, folder: str, socket: str, name: str, images: str, seed: str) -> None:
        self.gated = False
        self.folder, self.socket, self.name = Path(folder), Path(socket), name
        self.images = images.split(",")
        self.random = random.Random(int(seed))
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def conduct(self, image: str, course: tuple[Wish, ...]) -> None:
        site = TrialSite(self.folder, self.socket, self.name, gated=self.gated)
        async with site.running():
            for wish in course:
                site.wish(wish, image)
                await site.until(lambda each, wish=wish: each.wish is wish or each.ended)  # type: ignore[misc]

    def journal(self) -> TrialJournal:
        journal = TrialJournal(self.folder / NAME)
        journal.load()
        return journal

    async def take_up(self) -> None:
        site = TrialSite(self.folder, self.socket, self.name, gated=self.gated)
        async with site.running():
            with anyio.fail_after(60):
                await anyio.sleep(0.05)
                while site.book.journal.active or not site.book.journal.loaded:  # noqa: ASYNC110
                    await anyio.sleep(0.05)
        if active := site.conditions.active():
            self.wrong.append(str(active))

    def round(self) -> None:
        before = inspected(self.name)
        image = self.images[1] if before["Config"]["Image"] == self.images[0] else self.images[0]
        course = self.random.choice(COURSES)
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                anyio.run(self.conduct, image, course)
                code = 0
            finally:
                os._exit(code)
        time.sleep(self.random.uniform(0.3, LONGEST))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for entry in self.journal().active:
            self.seen["left a journal"] += 1
            old = inspected(entry.old)
            self.seen["old was not running"] += not old or not old["State"]["Running"]
            self.seen["was to be kept"] += entry.phase is Phase.KEEPING
        anyio.run(self.take_up)
        self.judge(before["Id"], course)

    def judge(self, old: str, course: tuple[Wish, ...]) -> None:
        """Compare what is there with what must be."""
        found, left = inspected(self.name), names(self.name)
        if left != [self.name]:
            self.wrong.append(f"the containers are {left}")
        elif not found["State"]["Running"]:
            self.wrong.append(f"it is {found['State']['Status']}")
        elif found["Id"] != old and Wish.KEEP not in course:
            self.wrong.append("nobody wished to keep it")
        else:
            self.seen["kept" if found["Id"] != old else "returned"] += 1


def main(*arguments: str) -> None:
    *given, rounds = arguments
    lane = Lane(*given[:5])
    lane.gated = "gated" in given[5:]
    for _ in range(int(rounds)):
        lane.round()
    sys.stdout.write(json.dumps({"seen": lane.seen, "wrong": lane.wrong}) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
