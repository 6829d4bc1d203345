from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.forecast.baseline import Baselines
from aiidpd.components.thermal.forecast.baseline_file import BaselineFile, decode, encode
from aiidpd.components.thermal.forecast.resistance import Baseline, Operation
from tests.waiting import PATIENCE

KNOWN = {
    "GPU-0": {
        "idle/12": Baseline(Operation(38.0, 290.0, 0.61, 15.0, 0.0), 3600.0),
        "cooling/00": Baseline(Operation(8.0, 15.0, 0.0, 15.0, 0.0, -0.01), 10.0),
    }
}
figures = st.floats(1e-6, 1e9)
rates = st.floats(-5, 5)
baselines = st.builds(
    Baseline, st.builds(Operation, figures, figures, figures, figures, figures, rates), figures
)


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), baselines, min_size=1)))
def test_what_is_written_is_read(known: dict[str, Baselines]) -> None:
    assert decode(encode(known)) == known


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    file = BaselineFile(tmp_path / "baselines.json")
    assert file.read() == {}
    file.write(KNOWN)
    file.wait(PATIENCE)
    assert BaselineFile(tmp_path / "baselines.json").read() == KNOWN
    assert file.problem == ""
    assert [path.name for path in tmp_path.iterdir()] == ["baselines.json"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 1, "gpus": {}}',
        b'{"version": 2}',
        b'{"version": 2, "gpus": []}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": [0.1]}}}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": [0, 1, 1, 1, 1, 1, 1]}}}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": [NaN, 1, 1, 1, 1, 1, 1]}}}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": [1, 1, 1, 1, 1, 1, -1]}}}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": [1, 1e13, 1, 1, 1, 1, 1]}}}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": ["a", 1, 1, 1, 1, 1, 1]}}}',
        b'{"version": 2, "gpus": {"GPU-0": {"idle/12": 7}}}',
    ],
)
def test_a_file_that_is_damaged_is_nothing_learnt_and_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "baselines.json"
    path.write_bytes(content)
    file = BaselineFile(path)
    assert file.read() == {}
    assert "learnt anew" in file.problem


def test_a_folder_that_refuses_is_told_and_forgotten_when_it_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    file = BaselineFile(folder / "baselines.json")
    file.write(KNOWN)
    file.wait(PATIENCE)
    assert "cannot write" in file.problem
    folder.mkdir()
    file.write(KNOWN)
    file.wait(PATIENCE)
    assert file.problem == ""
    assert json.loads((folder / "baselines.json").read_text())["version"] == 2
