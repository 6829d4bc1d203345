"""Keeps the baselines of the thermal resistance in the state folder: they are learnt over days."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import astuple
from pathlib import Path
from typing import Any, Final

from aiidpd.components.thermal.forecast.baseline import Baselines
from aiidpd.components.thermal.forecast.resistance import Baseline, Operation
from aiidpd.kernel.errors import describe
from aiidpd.platform.statefile import JsonFile

VERSION: Final = 2
_LARGEST = 1 << 20
_FIGURES = 7  # an operation and its seconds
_MOST = 1e12


class BaselineFile:
    """A JSON file: by GPU (UUID) what is known of it for good.

    What can't be read counts as nothing learnt. Writes happen in a thread: a disk may hang. ``problem`` is a
    sentence on what failed last, empty where nothing did.
    """

    def __init__(self, path: Path) -> None:
        self._file = JsonFile(path, largest=_LARGEST)
        self._unread = ""

    @property
    def problem(self) -> str:
        """What failed last, as a sentence."""
        failed = self._file.problem
        return f"{failed}; what was learnt ends with the daemon" if failed else self._unread

    def read(self) -> Mapping[str, Baselines]:
        """Return what was kept; nothing where there is no file, or none that can be understood."""
        try:
            data = self._file.read()
            return {} if data is None else decode(data)
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            self._unread = f"cannot read {self._file.path}: {describe(error)}; baselines are learnt anew"
            return {}

    def write(self, known: Mapping[str, Baselines]) -> None:
        """Keep ``known``."""
        self._unread = ""
        self._file.write(encode(known))

    def wait(self, seconds: float) -> None:
        """Wait for a write that is under way."""
        self._file.wait(seconds)


def encode(known: Mapping[str, Baselines]) -> bytes:
    """Return the content of the file."""
    gpus = {
        uuid: {name: [*astuple(base.usual), base.seconds] for name, base in one.items()}
        for uuid, one in known.items()
        if one
    }
    return json.dumps({"version": VERSION, "gpus": gpus}, indent=1).encode() + b"\n"


def decode(data: bytes) -> Mapping[str, Baselines]:
    """Return what is in ``data``; raises ValueError, TypeError, LookupError or AttributeError."""
    content: dict[str, Any] = json.loads(data)
    if content["version"] != VERSION:
        raise ValueError(f"it has version {content['version']!r}, not {VERSION}")
    return {
        uuid: {str(name): _baseline(*base) for name, base in one.items()}
        for uuid, one in content["gpus"].items()
    }


def _baseline(*figures: float) -> Baseline:
    if len(figures) != _FIGURES or not all(abs(each) < _MOST for each in figures):
        raise ValueError(f"{figures} are no baseline")
    rise, power, fan, reference_power, reference_fan, rate, seconds = map(float, figures)
    if min(power, fan, reference_power, reference_fan, seconds) < 0 or rise <= 0:
        raise ValueError(f"{figures} are no baseline")
    return Baseline(Operation(rise, power, fan, reference_power, reference_fan, rate), seconds)
