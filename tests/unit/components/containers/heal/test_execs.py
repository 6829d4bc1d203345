"""Commands of persons, and not of health checks."""

from __future__ import annotations

from typing import Any

import pytest

from aiidpd.components.containers.heal.execs import visited_by

SHELL = {"Config": {"Healthcheck": {"Test": ["CMD-SHELL", "curl localhost || exit 1"]}}}
PLAIN = {"Config": {"Healthcheck": {"Test": ["CMD", "/check", "-q"]}}}


def command(entrypoint: str, *arguments: str, tty: bool = False, stdin: bool = False) -> dict[str, Any]:
    process = {"entrypoint": entrypoint, "arguments": list(arguments), "tty": tty}
    return {"ProcessConfig": process, "OpenStdin": stdin}


CHECK = command("/bin/sh", "-c", "curl localhost || exit 1")


def test_a_health_check_is_nobody() -> None:
    assert visited_by(SHELL, [CHECK]) == ""
    assert visited_by(PLAIN, [command("/check", "-q")]) == ""


@pytest.mark.parametrize(
    ("description", "exec_"),
    [
        (SHELL, command("bash")),
        (SHELL, command("/bin/sh", "-c", "curl localhost || exit 1", tty=True)),
        (SHELL, command("/bin/sh", "-c", "curl localhost || exit 1", stdin=True)),
        (SHELL, command("/bin/sh", "-c", "rm -rf /")),
        (PLAIN, command("/check")),
        ({"Config": {}}, command("/check", "-q")),
        ({"Config": {"Healthcheck": {"Test": ["NONE"]}}}, command("sh")),
        (None, command("sh")),
    ],
)
def test_any_other_command_is_somebodys(description: Any, exec_: Any) -> None:
    assert visited_by(description, [CHECK, exec_] if description is SHELL else [exec_])


def test_a_hostile_command_is_bounded_and_escaped() -> None:
    found = visited_by(None, [command("sh\x1b[2J", "x" * 60_000)])
    assert found.isprintable()
    assert len(found) < 100
