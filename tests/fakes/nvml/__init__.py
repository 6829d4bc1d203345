"""A fake NVML in C that pynvml itself loads: :func:`build` makes it, :class:`FakeNvml` says what it reads."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")
SHAPES = Path(__file__).with_name("shapes")


def build(folder: Path, number: int = 1) -> Path | None:
    """Compile the library as ``libnvidia-ml.so.1`` into ``folder``; return it, or None without gcc.

    ``number`` is that of the driver that it belongs to: it must be that of the state's ``kernel``, if any.
    """
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror", f"-DFAKE_BUILD={number}"]
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE)], check=True)
    return library


def gpu(index: int = 0, **figures: object) -> dict[str, object]:
    """Return the lines of a healthy GPU in NVML's own units; a figure set to None is one it does not have.

    It is one of few words, as with an old driver: no field values, no limits. See :func:`shape` for more.
    """
    healthy: dict[str, object] = {
        "uuid": uuid(index),
        "name": "FAKE GeForce RTX 5070 Ti",
        "temperature": 61,
        "slowdown_temperature": 92,
        "shutdown_temperature": 95,
        "power_milliwatts": 180_500,
        "power_limit_milliwatts": 300_000,
        "fan_percent": 45,
        "utilisation_percent": 87,
        "memory_controller_percent": 64,
        "memory_used": 11 * 1024**3,
        "memory_total": 16 * 1024**3,
        "graphics_clock_megahertz": 2602,
        "memory_clock_megahertz": 14001,
        "clock_event_bits": 0x4,
    }
    return _lines(index, healthy | figures)


def shape(name: str, index: int = 0, /, **figures: object) -> dict[str, object]:
    """Return the lines of a GPU of the shape ``name`` (see shapes/README.md), changed by ``figures``.

    In the names of ``figures`` two underscores are a dot: ``field__186=0`` is field.186.
    """
    text = (SHAPES / f"{name}.state").read_text()
    lines: dict[str, object] = {"uuid": uuid(index)}
    lines |= dict(line.split("=", 1) for line in text.splitlines())
    return _lines(index, lines | {key.replace("__", "."): value for key, value in figures.items()})


def uuid(index: int) -> str:
    """Return the UUID that a fake GPU has by default."""
    return f"GPU-{index:08d}-fa4e-0000-0000-000000000000"


def _lines(index: int, figures: Mapping[str, object]) -> dict[str, object]:
    return {f"{index}.{key}": value for key, value in figures.items() if value is not None}


class FakeNvml:
    """The state that the library reads afresh in each call. Starts with one healthy GPU.

    ``env`` is what a process needs in its environment to load the library in ``library_folder``.
    """

    def __init__(self, folder: Path, library_folder: Path) -> None:
        self._path = folder / "nvml.state"
        self._set = folder / "nvml.state.set"
        self._calls = folder / "nvml.calls"
        self._writes = 0
        self._state: dict[str, object] = {}
        self.env = {"LD_LIBRARY_PATH": str(library_folder), "FAKE_NVML_STATE": str(self._path)}
        self.install(gpu())

    def install(self, *gpus: dict[str, object]) -> None:
        """Let there be these GPUs and nothing else; forget every fault and what was set."""
        self._state = {"count": len(gpus), "driver_version": "580.95"}
        for lines in gpus:
            self._state |= lines
        self._set.unlink(missing_ok=True)
        self._write()

    def set(self, lines: Mapping[str, object]) -> None:
        """Add or change lines (``{"0.temperature": 90}``); None takes one away."""
        self._state = {key: value for key, value in {**self._state, **lines}.items() if value is not None}
        self._write()

    def was_set(self, key: str) -> str | None:
        """Return what a setter of the library made of ``key`` ("0.power_limit_milliwatts"), if any did."""
        if not self._set.exists():
            return None
        lines = [line.partition("=") for line in self._set.read_text().splitlines()]
        return next((value for name, _, value in reversed(lines) if name == key), None)

    def note_calls(self) -> None:
        """Keep a list of the calls that processes make which are started from now on."""
        self.env["FAKE_NVML_CALLS"] = str(self._calls)

    def calls(self) -> list[tuple[int, str]]:
        """Return the calls since the last time, as GPU (-1 for the library) and name.

        No process may be making one: it could be lost.
        """
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return [(int(gpu), name) for gpu, name in (line.split() for line in lines)]

    def count(self, call: str) -> int:
        """Return how often ``call`` was begun since calls are noted; processes may go on meanwhile."""
        text = self._calls.read_text() if self._calls.exists() else ""
        return sum(line.endswith(f" {call}") for line in text.splitlines())

    def _write(self) -> None:
        # Replaced in one step, so that the library never reads half a state; by its time it sees a new one.
        self._writes += 1
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{key}={value}\n" for key, value in self._state.items()))
        os.utime(new, ns=(self._writes * 1_000_000, self._writes * 1_000_000))
        new.replace(self._path)
