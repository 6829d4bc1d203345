"""``aiidpctl`` in the process of a test, as a fixture: ``run = command_line("bench", "load")``."""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import anyio.to_thread
import pytest

from aiidpd.cli.main import main

Run: TypeAlias = Callable[..., Awaitable[tuple[int, str, str]]]


def command_line(*before: str) -> Any:
    """Return a fixture that runs the command ``before`` with more words; it gives code, output and errors.

    The event loop of the test goes on meanwhile, so that servers in it answer.
    """

    @pytest.fixture
    def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
        monkeypatch.setenv("COLUMNS", "80")

        async def given(command: str) -> tuple[int, str, str]:
            def call() -> int:
                try:
                    return main([*before, *shlex.split(command)])
                except SystemExit as ended:
                    return int(ended.code or 0)

            code = await anyio.to_thread.run_sync(call)
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return given

    return run
