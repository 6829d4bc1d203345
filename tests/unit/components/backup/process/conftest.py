"""A source to copy from, beside where copies are made."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.faulty_files import build


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.mkdir()
    return path


@pytest.fixture(scope="session")
def faulty(tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]) -> Path:
    """The library that has reads and writes fail."""
    library = build(tmp_path_factory.mktemp("faulty"))
    if library is None:
        missing("gcc", "apt-get install gcc libc6-dev")
    return library
