"""Listeners of this machine: a real llama.cpp server, with a key and without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aiidpd.components.audit.host.listeners import Listeners
from aiidpd.components.audit.host.sockets import listening
from aiidpd.kernel.clock import SystemClock
from tests.fakes.llama import HOW_TO_GET, LlamaServer, find_server, make_model

pytestmark = pytest.mark.real("llama")


@pytest.mark.parametrize(("options", "keyless"), [((), True), (("--api-key", "ohnonothing1"), False)])
async def test_a_real_server_is_found_and_whether_it_needs_a_key(
    tmp_path: Path, missing: Callable[[str, str], None], options: tuple[str, ...], keyless: bool
):
    binary = find_server()
    if binary is None:
        missing("llama-server", HOW_TO_GET)
    make_model(tmp_path / "tiny.gguf")
    server = LlamaServer(Path(str(binary)), tmp_path / "tiny.gguf", tmp_path / "log", options=options)
    server.start()
    try:
        sockets = [each for each in listening() if each.port == server.port]
        assert sockets
        (found,) = await Listeners(SystemClock()).find(sockets, ())
        assert (found.engine, found.port, found.keyless) == ("llama.cpp", server.port, keyless)
        assert found.address == "127.0.0.1"
    finally:
        server.stop()
