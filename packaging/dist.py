"""Build the wheel and the source distribution (``make dist``), by the hooks of PEP 517, without a network."""

# ruff: noqa: T201 -- as lock.py beside it; a command that prints
from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_HOOK = "import sys; from flit_core import buildapi; print(getattr(buildapi, sys.argv[1])(sys.argv[2]))"
_UNKNOWN = 315532800  # 1980: no archive knows an earlier day


def source_date() -> int:
    """Return the time that the files of an archive get, in Unix seconds.

    It is SOURCE_DATE_EPOCH, or the last commit's.
    """
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return max(_UNKNOWN, int(given))
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603
    except FileNotFoundError:
        return _UNKNOWN
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip() else _UNKNOWN


def build_wheel(folder: Path, at: int) -> Path:
    """Return the wheel of this tree, made in ``folder``."""
    return _built("build_wheel", folder, at)


def build_sdist(folder: Path, at: int) -> Path:
    """Return the source distribution of this tree, made in ``folder``."""
    return _built("build_sdist", folder, at)


def _built(hook: str, folder: Path, at: int) -> Path:
    folder = folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(at)}
    command = [sys.executable, "-c", _HOOK, hook, str(folder)]
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)  # noqa: S603
    return folder / done.stdout.strip().splitlines()[-1]


def main(folder: Path) -> None:
    """Build both into ``folder``, and print their paths."""
    at = source_date()
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".dist.") as scratch:
        folder.mkdir(parents=True, exist_ok=True)
        for build in (build_wheel, build_sdist):
            made = build(Path(scratch), at)
            print(made.replace(folder / made.name))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "dist")
