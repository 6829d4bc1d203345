"""A part of the machine that need not be installed, but must not vanish once it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Inactive, NotInstalled, Unavailable
from aiidpd.platform.statefile import StateFile

AUTO: Final = "auto"


@dataclass(frozen=True, slots=True)
class Sighting:
    """Proof that the part was there, first at ``at`` (Unix seconds)."""

    version: Literal[1]
    at: float


class Installed:
    """Remembers over restarts, in the file ``path``, that a part was there.

    ``setting`` is the key that sets how the part is used. Its value, by ``mode``, is "auto" where a part that
    was never there is no fault. A file that can't be read counts as one that records the part: better a
    false alarm than a loss that goes unreported.
    """

    def __init__(self, path: Path, clock: Clock, setting: str, mode: Callable[[], str]) -> None:
        self._file = StateFile(path, Sighting)
        self._clock = clock
        self._setting = setting
        self._mode = mode
        self._seen: bool | None = None

    @property
    def before(self) -> bool:
        """True where the part was ever there. Blocks at the first call."""
        if self._seen is None:
            sighting, problem = self._file.load_or_set_aside()
            self._seen = sighting is not None or bool(problem)
        return self._seen

    def confirm(self) -> None:
        """Remember that the part is there."""
        if not self.before:
            self._seen = True
            self._file.save_soon(Sighting(1, self._clock.time()))

    def forget(self) -> None:
        """Forget that the part was there: somebody switched it off."""
        if self.before:
            self._seen = False
            self._file.save_soon(None)

    def wait(self, seconds: float) -> None:
        """Wait until what is to be remembered is on the disk, at most ``seconds``. Blocks."""
        self._file.wait(seconds)

    def explain(self, error: Unavailable) -> Inactive | Unavailable:
        """Return ``error`` as what it is on this machine: no fault, or the loss of a part that was there."""
        if not isinstance(error, NotInstalled) or self._mode() != AUTO:
            return error
        if not self.before:
            return Inactive(f"nothing to do for {error.subject}: {error.reason}")
        return Unavailable(
            error.action,
            error.subject,
            reason=f"{error.reason}, and it was there before",
            remedy=f'{error.remedy}; where it was removed for good: {self._setting} = "off"',
        )
