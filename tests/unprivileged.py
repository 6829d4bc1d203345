"""A user without any rights, also where the tests run as root, who may do everything."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

NOBODY: Final = 65534

_DROPPED = """
import importlib, os, sys
for name in {modules!r}:
    importlib.import_module(name)
os.setgroups({groups!r})
os.setresgid({user}, {user}, {user})
os.setresuid({user}, {user}, {user})
"""


def python_as_nobody(code: str, *, modules: Iterable[str] = (), groups: Iterable[int] = ()) -> list[str]:
    """Return the command, for root, of a Python that runs ``code`` without rights, in ``groups``.

    Interpreter, standard library and checkout may all be closed to that user: the process starts as root,
    imports ``modules``, and only then gives its rights up, for good and with no program started anew. What
    ``code`` imports beyond ``modules`` fails there.
    """
    drop = _DROPPED.format(modules=list(modules), groups=list(groups), user=NOBODY)
    return [os.path.realpath(sys.executable), "-W", "error", "-c", drop + code]


def as_nobody(act: Callable[[], object], folder: Path) -> str:
    """Call ``act`` in ``folder``, in a process of its own without rights; return its error as "Class: text".

    Without an error it is "". The folder is given to that user. The process is forked, since that user may
    not be allowed to read this checkout: whatever ``act`` needs must be imported already.
    """
    folder.chmod(0o777)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        said, code = "", 1
        try:
            os.chdir(folder)  # the folders above it may be closed to that user
            _become_nobody()
            act()
            code = 0
        except Exception as error:  # noqa: BLE001 -- told to the test
            said, code = f"{type(error).__name__}: {error}", 0
        finally:
            os.write(write, said.encode())
            os._exit(code)
    os.close(write)
    with os.fdopen(read, encoding="utf-8") as pipe:
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, said or sys.platform
    return said


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
