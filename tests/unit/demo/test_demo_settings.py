"""The configuration that the demo writes is one that the daemon takes, whatever was found."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.config.load import load
from aiidpd.daemon.schema import SCHEMA
from aiidpd.demo.find import Found, Served
from aiidpd.demo.settings import demo_settings

text = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40).filter(str.strip)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@given(
    no_gpu=st.one_of(st.just(""), text),
    no_docker=st.one_of(st.just(""), text),
    model=st.one_of(st.none(), st.just("org/model-7b")),
    port=st.sampled_from([40123, 9753]),
)
def test_it_follows_what_was_found(folder: Path, no_gpu: str, no_docker: str, model: str | None, port: int):
    found = Found(
        no_gpu,
        None if no_docker else Path("/run/docker.sock"),
        no_docker,
        Served("http://127.0.0.1:8000", model) if model else None,
        port,
    )
    file = folder / "aiidpd.toml"
    file.write_text(demo_settings(found, folder), encoding="utf-8")
    settings = load(SCHEMA, file, {}).settings
    assert settings.gpu.library == ("simulated" if no_gpu else "auto")
    assert settings.containers.engine == ("simulated" if no_docker else "auto")
    (endpoint,) = settings.bench.endpoints
    assert endpoint.kind == ("openai" if model else "simulated")
    assert endpoint.model == (model or "")
    assert settings.backup.source is not None
    assert "SIMULATED" in settings.backup.source.name
    assert settings.daemon.state_directory.is_relative_to(folder)
    assert settings.daemon.runtime_directory.is_relative_to(folder)
