"""Write the onsets that apache-otava finds: ``PYTHON -m tests.unit.components.bench.regression.otava``.

It depends on clients of clouds and on another numpy, so that it is no dependency of the tests: its answers
are stored. PYTHON is one of an environment that has apache-otava and finds this folder.
"""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

from tests.unit.components.bench.regression.series import shifted

FILE = Path(__file__).with_name("otava.json")
FACTORS = (0.95, 0.93, 1.07)
SEEDS = range(10)


def main() -> None:
    from otava.analysis import compute_change_points  # type: ignore[import-not-found]  # noqa: PLC0415

    found = []
    for name in ("iid", "ar1", "t5"):
        for factor in FACTORS:
            for seed in SEEDS:
                points, _ = compute_change_points(shifted(name, seed, factor))
                onsets = [int(each.index) for each in points]
                found.append({"noise": name, "factor": factor, "seed": seed, "onsets": onsets})
    lines = ",\n".join(json.dumps(each) for each in found)
    FILE.write_text(f'{{"apache-otava": "{version("apache-otava")}", "found": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
