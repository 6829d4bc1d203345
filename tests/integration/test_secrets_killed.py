"""Rotations that are killed after any of their steps: nobody is refused, and the next call ends them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiidpd.components.secrets.decide import Answer
from aiidpd.components.secrets.engine import query
from aiidpd.components.secrets.state import Phase
from tests.unit.components.secrets.rotating import NAME, Rotating, rotating
from tests.waiting import PATIENCE


def run(here: Rotating, kill_after: int, way: str) -> int:
    command = [sys.executable, "-m", "tests.integration.secrets_killed", here.store.folder.path, NAME]
    done = subprocess.run(
        [*command, str(kill_after), way], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode in (0, -9), done.stderr
    return done.returncode


@contextmanager
def calling(here: Rotating) -> Iterator[list[Answer]]:
    """Send the key that lies in the users' file again and again; yield the answers."""
    answers: list[Answer] = []
    ended = threading.Event()

    def call() -> None:
        while not ended.wait(0.005):
            answers.extend(query(here.engine.url, (here.store.key(here.entry),)).keys)

    thread = threading.Thread(target=call)
    thread.start()
    try:
        yield answers
    finally:
        ended.set()
        thread.join()


def test_whatever_step_it_is_killed_after_nobody_is_refused_and_it_ends(tmp_path: Path) -> None:
    with rotating(tmp_path) as here, calling(here) as answers:
        files, step, killed = here.files() | {".lock"}, 1, 0
        while True:
            before = here.store.key(here.entry)
            if run(here, step, "forward") == 0:
                break
            killed += 1
            begun = here.store.rotation(NAME)
            way = "back" if step % 2 and begun is not None and begun.phase is not Phase.CLEAN else "forward"
            assert run(here, 0, way) == 0
            after = here.store.key(here.entry)
            assert (after == before) == (way == "back"), step
            assert here.engine.accepted == here.store.engine_keys(here.entry) == (after,)
            assert here.files() == files, "nothing is left of it"
            step += 1
    assert killed >= 20
    assert len(answers) > killed
    assert set(answers) == {Answer.ACCEPTED}


def test_a_way_back_that_is_killed_goes_on_back(tmp_path: Path) -> None:
    with rotating(tmp_path) as here, calling(here) as answers:
        before, step = here.store.key(here.entry), 1
        while True:
            assert run(here, 14, "forward") == -9, "after it has switched"
            code = run(here, step, "back")
            if code == 0:
                break
            if here.store.rotation(NAME) is not None:
                assert run(here, 0, "back") == 0
            assert here.store.key(here.entry) == before
            assert here.engine.accepted == (before,)
            step += 1
    assert step > 8
    assert set(answers) == {Answer.ACCEPTED}
