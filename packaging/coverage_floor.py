"""Print what the tests cover, from the JSON of ``coverage json``, and fail where that is too little (CI).

``python packaging/coverage_floor.py FILE``. Lines and branches count alike. A module whose docstring says
"(pure)" needs nothing but arguments to be tested, so the floor of those is higher.
"""

# ruff: noqa: T201 -- as lock.py beside it; a command that prints
from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FLOORS = {"pure modules": 95.0, "all modules": 85.0}
"""Per cent."""
_SHOWN = 15  # files that lack most


def pure(source: str) -> bool:
    """Return whether a module says of itself that it does no I/O."""
    return "(pure)" in (ast.get_docstring(ast.parse(source)) or "")


def percent(summaries: Iterable[Mapping[str, int]]) -> float:
    """Return the share of lines and branches that ran, or 0 where there are none."""
    covered = total = 0
    for each in summaries:
        covered += each["covered_lines"] + each["covered_branches"]
        total += each["num_statements"] + each["num_branches"]
    return 100.0 * covered / total if total else 0.0


def lines(summaries: Mapping[str, Mapping[str, int]], pure_modules: set[str]) -> tuple[list[str], bool]:
    """Return the lines to print, and whether every floor is reached."""
    lacking = {name: one["missing_lines"] + one["missing_branches"] for name, one in summaries.items()}
    most = sorted((name for name in lacking if lacking[name]), key=lambda name: (-lacking[name], name))
    told = [
        f"{percent([summaries[name]]):5.1f} %, {lacking[name]:3d} missed: {name}" for name in most[:_SHOWN]
    ]
    groups = {"pure modules": pure_modules, "all modules": set(summaries)}
    reached = True
    for group, floor in FLOORS.items():
        found = percent(summaries[name] for name in groups[group])
        reached &= found >= floor
        told.append(f"{found:5.1f} % of {len(groups[group])} {group}; the floor is {floor:g} %")
    return told, reached


def main(file: str) -> int:
    """Print the figures; return 1 where a floor is not reached."""
    document: dict[str, Any] = json.loads(Path(file).read_text())
    summaries = {name: each["summary"] for name, each in document["files"].items()}
    told, reached = lines(summaries, {name for name in summaries if pure(Path(name).read_text())})
    print(*(f"coverage: {line}" for line in told), sep="\n")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
