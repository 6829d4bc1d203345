"""Memory of the liveness of engines: what outlives the task, and what outlives the daemon."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from aiidpd.components.engines.liveness.checks import CheckState
from aiidpd.components.engines.liveness.history import MOST_ENGINES, EngineHistories, EngineHistory
from aiidpd.components.engines.liveness.silent import SilentState
from aiidpd.components.engines.liveness.state import LivenessState
from aiidpd.platform.statefile import StateFile

NAME: Final = "engine-histories.json"
_LONGEST_KEY: Final = 512


class LivenessMemory:
    """States of the engines by name, and their histories, which ``file`` has over restarts."""

    def __init__(self, file: StateFile[EngineHistories]) -> None:
        self._file = file
        self._loaded = False
        self._saved: EngineHistories | None = None
        self.histories: dict[str, EngineHistory] = {}
        self.live: dict[str, LivenessState] = {}
        self.silent: dict[str, SilentState] = {}
        self.checks: dict[str, CheckState] = {}
        self.models: dict[str, str] = {}

    def load(self) -> str:
        """Read the file once; return why it could not be read, empty where it could. Blocks."""
        if self._loaded:
            return ""
        self._loaded = True
        stored, problem = self._file.load_or_set_aside()
        self.histories = dict(stored.engines) if stored is not None else {}
        return problem

    def history(self, name: str, model: str) -> EngineHistory:
        """Return what is known of an engine with a model."""
        return self.histories.get(_key(name, model), EngineHistory())

    def forget(self, names: frozenset[str]) -> None:
        """Forget the states, not the histories, of engines that are no longer in ``names``."""
        for states in (self.live, self.silent, self.checks, self.models):
            for name in [each for each in states if each not in names]:
                del states[name]

    def save_soon(self) -> None:
        """Write the histories in a thread, where they changed."""
        if not self._loaded:
            return
        for name, state in self.live.items():
            key = _key(name, self.models.get(name, ""))
            if state.history != EngineHistory():
                self.histories.pop(key, None)  # the last used are the last to go
                self.histories[key] = state.history
        while len(self.histories) > MOST_ENGINES:
            del self.histories[next(iter(self.histories))]
        document = EngineHistories(1, MappingProxyType(dict(self.histories)))
        if document != self._saved:
            self._saved = document
            self._file.save_soon(document)

    def wait(self, seconds: float) -> None:
        """Wait until the histories are on the disk, at most ``seconds``. Blocks."""
        self._file.wait(seconds)


def _key(name: str, model: str) -> str:
    return f"{name} {model}"[:_LONGEST_KEY]
