"""A thousand governing daemons are killed, and a thousand GPUs are back at their baselines."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROUNDS = 1000
LANES = 4


@pytest.mark.timeout(2400)  # each round starts and ends two or three real processes, about 0.1 s of work
def test_whatever_kills_a_governing_daemon_the_baseline_is_back(nvml_library: Path, tmp_path: Path) -> None:
    lanes = []
    for seed in range(LANES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        arguments = [str(folder), str(nvml_library.parent), str(ROUNDS // LANES), str(seed)]
        command = [sys.executable, "-m", "tests.integration.governor_scenario", *arguments]
        lanes.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
    seen: Counter[str] = Counter()
    try:
        for lane in lanes:
            out, err = lane.communicate()
            assert lane.returncode == 0, err
            told = json.loads(out.splitlines()[-1])
            assert told["wrong"] == []
            seen += Counter(told["seen"])
    finally:
        for lane in lanes:
            lane.kill()
            lane.communicate()

    assert seen["restored"] == ROUNDS
    assert seen["hit a changed GPU"] > ROUNDS / 2, "most kills must hit a GPU that is not at its baseline"
    assert all(seen[way] > ROUNDS / 25 for way in ("term", "child", "crash", "replace"))
    assert all(seen[f"kill, then the {what}"] > ROUNDS / 25 for what in ("command", "next start"))
