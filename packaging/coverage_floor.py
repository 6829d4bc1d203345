#!/usr/bin/env python3
"""Print what the tests cover, from the JSON of `coverage json`, and fail where that is below its floor.

`coverage.json`: the file is named by the only argument. Lines and branches count alike. Modules whose
docstring says "(pure)" need no I/O to be tested, so nothing excuses a part of them that is not: each group
has a floor of its own.
"""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

FLOORS = {"pure": 95.0, "all": 85.0}
"""Per cent."""
_WORST = 15  # files that are named


def pure(source: str) -> bool:
    """Return whether a module says of itself that it does no I/O."""
    return "(pure)" in (ast.get_docstring(ast.parse(source)) or "")


def percent(summaries: Iterable[Mapping[str, Any]]) -> float:
    """Return the share of lines and branches that ran; 100 where there are none."""
    covered = total = 0
    for each in summaries:
        covered += each["covered_lines"] + each["covered_branches"]
        total += each["num_statements"] + each["num_branches"]
    return 100.0 * covered / total if total else 100.0


def main(path: str) -> int:
    """Print each group's figure and the files that lack most; return 1 where a floor is not reached."""
    files: dict[str, dict[str, Any]] = json.loads(Path(path).read_text())["files"]
    summaries = {name: each["summary"] for name, each in files.items()}
    groups = {
        "pure": [name for name in files if pure(Path(name).read_text())],
        "all": list(files),
    }
    missed = {name: each["missing_lines"] + each["missing_branches"] for name, each in summaries.items()}
    for name in sorted((name for name in missed if missed[name]), key=lambda name: -missed[name])[:_WORST]:
        mark = "pure" if name in groups["pure"] else ""
        print(
            f"coverage: {percent([summaries[name]]):5.1f} % {missed[name]:4d} missed  {name} {mark}".rstrip()
        )
    failed = False
    for group, floor in FLOORS.items():
        if not groups[group]:
            print(f"coverage: there is no module of the group {group}", file=sys.stderr)
            return 1
        found = percent(summaries[name] for name in groups[group])
        failed |= found < floor
        verdict = "BELOW" if found < floor else "at least"
        print(f"coverage: {found:5.1f} % of {group} ({len(groups[group])} modules), {verdict} {floor:g} %")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
