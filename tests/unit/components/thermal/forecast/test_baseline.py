from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.alerts.evaluator import EvaluatorMemory
from aiidpd.components.thermal.forecast.baseline import Bands, Baselines, from_baselines, to_baselines
from aiidpd.components.thermal.forecast.resistance import Baseline, Operation
from aiidpd.kernel.latest import Latest
from aiidpd.platform.statefile import StateFile
from tests.fakes.clock import FakeClock
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


def memory(path: Path) -> EvaluatorMemory:
    return EvaluatorMemory(Latest(FakeClock(), max_age=1.0), StateFile(path, Baselines, indent=1))


@given(st.dictionaries(st.text(), st.dictionaries(st.text(), baselines, min_size=1)))
def test_what_is_written_down_is_what_was_learnt(known: dict[str, Bands]) -> None:
    written = to_baselines(known)
    written.validate()
    assert from_baselines(written) == known


def test_a_gpu_of_which_nothing_is_known_is_not_written_down() -> None:
    assert to_baselines({**KNOWN, "GPU-1": {}}) == to_baselines(KNOWN)


def test_a_file_that_is_damaged_is_nothing_learnt_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "baselines.json"
    path.write_bytes(b"{")
    found = memory(path)
    found.load()
    assert found.memory.baselines == {}
    assert "baselines.json.unreadable; baselines are learnt anew" in found.problem
    assert (tmp_path / "baselines.json.unreadable").read_bytes() == b"{"


def test_a_folder_that_refuses_is_reported_until_it_takes_it(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    found = memory(folder / "baselines.json")
    found.file.save_soon(to_baselines(KNOWN))
    found.file.wait(PATIENCE)
    assert "cannot write" in found.problem
    folder.mkdir()
    found.file.save_soon(to_baselines(KNOWN))
    found.file.wait(PATIENCE)
    assert found.problem == ""
    assert json.loads((folder / "baselines.json").read_text())["version"] == 2
