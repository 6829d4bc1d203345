"""A rotation in a process of its own that kills itself: ``python -m tests.integration.secrets_killed``.

Arguments: the folder of keys, the key's name, the number of the step after which it is killed (0: never), and
``forward`` or ``back``. A step is each file that is written but has not its name yet, each that has it, each
that is removed, and each restart of the server, which is a request to it.
"""

from __future__ import annotations

import os
import signal
import sys
import urllib.request
from collections.abc import Callable
from typing import Any

from aiidpd.components.secrets.folder import KeyFolder
from aiidpd.components.secrets.registry import KeyEntry
from aiidpd.components.secrets.rotate import Means, RotationOptions, rotate
from aiidpd.components.secrets.store import KeyStore

STEPS = ("_write_new", "write", "remove")


class Requested:
    """Restarts the server by a request."""

    by_hand = False

    def engine(self, entry: KeyEntry) -> bool:
        urllib.request.urlopen(f"{entry.url}/restart", timeout=10).close()
        return True

    def user(self, entry: KeyEntry, user: str) -> None:
        raise AssertionError(entry.name, user)


def counted(kill_after: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what makes a function count as a step."""
    done = 0

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal done
            found = function(*arguments, **options)
            done += 1
            if done == kill_after:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

        return step

    return wrap


def main(path: str, name: str, kill_after: int, way: str) -> None:
    """Rotate, or die."""
    wrap = counted(kill_after)
    for step in STEPS:
        setattr(KeyFolder, step, wrap(getattr(KeyFolder, step)))
    Requested.engine = wrap(Requested.engine)  # type: ignore[method-assign]
    with KeyFolder.open(path) as folder, folder.locked():
        store = KeyStore(folder)
        back = way == "back" and store.rotation(name) is not None
        means = Means(store, Requested(), lambda _words: None, sleep=lambda _seconds: None)
        rotate(means, store.entry(name), RotationOptions(back=back, patience=20.0))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
