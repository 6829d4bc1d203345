"""A fake NVML in C that pynvml itself loads: :func:`build` makes it, :class:`FakeNvml` says what it reads."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_name("nvml.c")


def build(folder: Path) -> Path | None:
    """Compile the library as ``libnvidia-ml.so.1`` into ``folder``; return it, or None without gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        return None
    library = folder / "libnvidia-ml.so.1"
    flags = ["-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "-o", str(library), str(SOURCE)], check=True)
    return library


def gpu(index: int = 0, **figures: object) -> dict[str, object]:
    """Return the lines of a healthy GPU in NVML's own units; a figure set to None is one it does not have."""
    healthy: dict[str, object] = {
        "uuid": f"GPU-{index:08d}-fa4e-0000-0000-000000000000",
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
    return {f"{index}.{key}": value for key, value in (healthy | figures).items() if value is not None}


class FakeNvml:
    """The state that the library reads afresh in each call. Starts with one healthy GPU.

    ``env`` is what a process needs in its environment to load the library in ``library_folder``.
    """

    def __init__(self, folder: Path, library_folder: Path) -> None:
        self._path = folder / "nvml.state"
        self._state: dict[str, object] = {}
        self.env = {"LD_LIBRARY_PATH": str(library_folder), "FAKE_NVML_STATE": str(self._path)}
        self.install(gpu())

    def install(self, *gpus: dict[str, object]) -> None:
        """Let there be these GPUs and nothing else; forget every fault."""
        self._state = {"count": len(gpus), "driver_version": "580.95"}
        for lines in gpus:
            self._state |= lines
        self._write()

    def set(self, lines: Mapping[str, object]) -> None:
        """Add or change lines (``{"0.temperature": 90}``); None takes one away."""
        self._state = {key: value for key, value in (self._state | lines).items() if value is not None}
        self._write()

    def _write(self) -> None:
        # Replaced in one step, so that the library never reads half a state.
        new = self._path.with_suffix(".new")
        new.write_text("".join(f"{key}={value}\n" for key, value in self._state.items()))
        new.replace(self._path)
