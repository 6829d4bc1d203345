"""Commands that run in a container and are nobody's health check (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

_SHELL: Final = "CMD-SHELL"
_LONGEST: Final = 60  # characters of a command in a reason


def visited_by(description: Mapping[str, Any] | None, execs: Iterable[Mapping[str, Any]]) -> str:
    """Return the first command of ``execs`` that is not the container's health check, or an empty text.

    ``description`` is the container's, as the runtime's API has it.
    """
    config = (description or {}).get("Config") or {}
    test: Sequence[str] = (config.get("Healthcheck") or {}).get("Test") or ()
    for each in execs:
        process = each.get("ProcessConfig") or {}
        command = [str(process.get("entrypoint") or ""), *map(str, process.get("arguments") or ())]
        if process.get("tty") or each.get("OpenStdin") or not _checks(command, test):
            return ascii(" ".join(command)[:_LONGEST]).strip("'\"")
    return ""


def _checks(command: Sequence[str], test: Sequence[str]) -> bool:
    if len(test) < 2:  # noqa: PLR2004 -- a kind and a command
        return False
    if test[0] == _SHELL:
        return command[-1] == test[1] and command[-2:-1] == ["-c"]
    return list(command) == list(test[1:])
