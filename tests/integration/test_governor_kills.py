"""A thousand governing daemons are killed (a hundred in the short form), and the GPUs are as before each."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.forms import short_and_long

LANES = 4


# Each round starts and ends two or three real processes, about 0.1 s of work.
@short_and_long("rounds", 100, 1000)
def test_whatever_kills_a_governing_daemon_the_baseline_is_back(
    nvml_library: Path, tmp_path: Path, rounds: int
) -> None:
    lanes = []
    for seed in range(LANES):
        folder = tmp_path / str(seed)
        folder.mkdir()
        arguments = [str(folder), str(nvml_library.parent), str(rounds // LANES), str(seed)]
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

    assert seen["restored"] == rounds
    assert seen["hit a changed GPU"] > rounds / 2, "most kills must hit a GPU that is not at its baseline"
    assert all(seen[way] > rounds / 25 for way in ("term", "child", "crash", "replace"))
    assert all(seen[f"kill, then the {what}"] > rounds / 25 for what in ("command", "next start"))
