"""Room for a second engine at the same time, by arithmetic (pure)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from aiidpd.contracts.gpus import GpusView, GpuUse

MARGIN: Final = 1.1
"""Times the memory of the old engine that must be free."""
_GIB: Final = 2**30


@dataclass(frozen=True, slots=True)
class Room:
    """Answer to whether both fit at once, with the arithmetic."""

    enough: bool
    reason: str


def room_beside(container: str, gpus: GpusView | None, memory: Callable[[str], float | None]) -> Room:
    """Return whether the GPUs that ``container`` (its id) uses have room for another such.

    ``memory`` gives the bytes that a GPU of a name has, None where that is not known.
    """
    if gpus is None or gpus.simulated:
        return Room(False, "the GPUs can't be read")
    used = {each.index: _used(each, container) for each in gpus.gpus}
    mine = [each for each in gpus.gpus if used[each.index] != 0]
    if not mine:
        return Room(False, "no GPU is known to be used by it, and both would share the processors")
    for each in mine:
        total, taken, own = memory(each.name), each.memory_used_bytes, used[each.index]
        if total is None or taken is None or own is None:
            return Room(False, f"it is not known how much memory of GPU {each.index} is free")
        free, needed = f"{(total - taken) / _GIB:.1f} GiB", f"{MARGIN:g} x {own / _GIB:.1f} GiB"
        words = f"GPU {each.index}: {free} free, {needed} needed"
        if total - taken < MARGIN * own:
            return Room(False, words)
    return Room(True, "there is room on the GPUs that it uses")


def _used(gpu: GpuUse, container: str) -> float | None:
    """Return how many bytes of ``gpu`` the container has, 0 for none, None where that is not known."""
    if gpu.processes is None:
        return None
    own = [each.bytes for each in gpu.processes if each.container == container]
    known = [each for each in own if each is not None]
    return None if len(known) < len(own) else sum(known)
