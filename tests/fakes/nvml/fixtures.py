"""Fixtures for every test that wants GPUs of its own making."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.nvml import FakeNvml, build


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]) -> Path:
    """The fake ``libnvidia-ml.so.1``, in a folder with nothing else."""
    library = build(tmp_path_factory.mktemp("nvml"))
    if library is None:
        missing("gcc", "apt-get install gcc libc6-dev")
    return library


@pytest.fixture
def fake_nvml(nvml_library: Path, tmp_path: Path) -> FakeNvml:
    """One healthy GPU, to be changed at will."""
    return FakeNvml(tmp_path, nvml_library.parent)
