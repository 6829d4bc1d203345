"""Servers that the tests of one module share, as fixtures: ``server = shared_llama(layers=8)``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.fakes import llama, tokens


def shared_llama(**shape: Any) -> Any:
    """Return a fixture of a real llama.cpp server on a tiny model, of the ``shape`` that it is to have."""

    @pytest.fixture(scope="module")
    def server(
        tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
    ) -> Iterator[llama.LlamaServer]:
        if llama.find_server() is None:
            missing("llama-server", llama.HOW_TO_GET)
        with llama.running(tmp_path_factory.mktemp("llama"), **shape) as served:
            yield served

    return server


def shared_tokens() -> Any:
    """Return a fixture of the scripted server in C, which notes when it wrote each token."""

    @pytest.fixture(scope="module")
    def truth(
        tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
    ) -> Iterator[tokens.TokenServer]:
        program = tokens.build(tmp_path_factory.mktemp("tokens"))
        if program is None:
            missing("gcc", tokens.HOW_TO_GET)
            return
        with tokens.running(program) as served:
            yield served

    return truth
