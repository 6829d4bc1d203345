"""Reads and writes that fail, end early or take long, by a library in C that :func:`build` makes."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")


def build(folder: Path) -> Path | None:
    """Compile the library into ``folder``; return it, or None without gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "faulty_files.so"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


def faults(library: Path, *rules: str) -> dict[str, str]:
    """Return the environment of a process on which ``rules`` come true; shim.c says what a rule is."""
    return {"LD_PRELOAD": str(library), "FAULTY_FILES": ";".join(rules)}
