"""Observation of one engine: what its page, its processes and its GPUs show at a moment (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiidpd.contracts.containers import ContainerSummary, ContainerUse
from aiidpd.contracts.engines import EngineState
from aiidpd.contracts.gpus import GpusView, GpuUse

_LAYERS: Final = ("-ngl", "--gpu-layers", "--n-gpu-layers")
_LAYERS_VARIABLE: Final = "LLAMA_ARG_N_GPU_LAYERS"


@dataclass(frozen=True, slots=True)
class GpuActivity:
    """Activity of the GPUs on which an engine's processes hold memory, which are ``gpus``.

    ``utilisation_ratio`` is the highest of them, None where one does not report it. ``bytes`` is what its own
    processes hold, ``shared`` whether others hold memory of them too.
    """

    gpus: tuple[GpuUse, ...] = ()
    utilisation_ratio: float | None = 0.0
    bytes: float | None = 0.0
    shared: bool = False


@dataclass(frozen=True, slots=True)
class Observation:
    """All that is known of one engine at ``now`` (monotonic seconds), which is ``time`` in Unix seconds.

    ``container`` is None where none is known, ``use`` and ``gpu`` where they could not be read.
    ``wants_gpu``: its container or its arguments request one; None where that is not known. ``probing``: a
    request of ours is under way. ``missed_since`` is when a completion of ours was sent that passed its
    deadline twice.
    """

    now: float
    time: float
    engine: EngineState
    container: ContainerSummary | None = None
    use: ContainerUse | None = None
    gpu: GpuActivity | None = None
    wants_gpu: bool | None = None
    probing: bool = False
    missed_since: float | None = None


def gpu_activity(container: str, pids: Iterable[int], view: GpusView | None) -> GpuActivity | None:
    """Return the activity of the GPUs that a container's processes use; None where that is not known."""
    if view is None or not view.gpus or any(gpu.processes is None for gpu in view.gpus):
        return None
    own = frozenset(pids)
    held: list[GpuUse] = []
    sizes: list[float | None] = []
    shared = False
    for gpu in view.gpus:
        theirs = [each for each in gpu.processes or () if each.container == container or each.pid in own]
        if theirs:
            held.append(gpu)
            sizes += [each.bytes for each in theirs]
            shared = shared or len(theirs) < len(gpu.processes or ())
    levels = [gpu.utilisation_ratio for gpu in held]
    known = [each for each in levels if each is not None]
    sized = [each for each in sizes if each is not None]
    return GpuActivity(
        tuple(held),
        max(known, default=0.0) if len(known) == len(levels) else None,
        sum(sized) if len(sized) == len(sizes) else None,
        shared,
    )


def wants_gpu(container: ContainerSummary | None) -> bool | None:
    """Return whether a container, or the arguments of the engine in it, request a GPU."""
    if container is None:
        return None
    return container.gpu or _layers(container) not in ("", "0")


def _layers(container: ContainerSummary) -> str:
    """Return how many layers llama.cpp was told to have on GPUs; empty where nothing says so."""
    found = container.environment.get(_LAYERS_VARIABLE, "").strip()
    arguments = container.arguments
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in _LAYERS:
            following = arguments[place + 1] if place + 1 < len(arguments) else ""
            found = value.strip() if equals else following.strip()
    return found
