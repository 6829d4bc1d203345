"""Compares what the program gives with files that say what it gave before.

``AIIDPD_WRITE_GOLDEN=1`` has the files written anew instead: `git diff` then shows what changed, and the
commit says why.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).parent
WRITES: Final = os.environ.get("AIIDPD_WRITE_GOLDEN") == "1"
_HOW = "if that is meant: AIIDPD_WRITE_GOLDEN=1 make test TESTS=tests/golden"


def equals_golden(text: str, name: str) -> None:
    """Fail with a diff where ``text`` is not the content of the file ``name``, a path below this folder."""
    path = FOLDER / name
    if WRITES:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    golden = path.read_bytes().decode()
    if text != golden:
        lines = difflib.unified_diff(
            golden.splitlines(), text.splitlines(), f"{name} (golden)", f"{name} (now)", lineterm="", n=2
        )
        shown = "\n".join(lines) or "they differ in their line ends"
        raise AssertionError(f"{shown}\n{_HOW}")


def as_text(document: Any) -> str:
    """Return a JSON document as lines: keys in their order, since scripts and people read them so."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def rows(*table: tuple[object, ...]) -> str:
    """Return a table as lines, its cells between bars."""
    return "".join(" | ".join(map(str, row)) + "\n" for row in table)
