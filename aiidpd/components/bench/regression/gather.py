"""Circumstances of a probe, from the views of engines, containers and GPUs."""

from __future__ import annotations

import time
from typing import Final

from aiidpd.components.bench.regression.circumstances import Value
from aiidpd.contracts.containers import CONTAINERS, ContainerSummary
from aiidpd.contracts.engines import ENGINES, EngineState
from aiidpd.contracts.gpus import GPUS, GpusView, GpuUse
from aiidpd.kernel.views import Views
from aiidpd.platform.redaction import Redactor

_MOST_GPUS: Final = 8
_MOST_OPTIONS: Final = 32


def gather(views: Views, endpoint: str) -> tuple[str, dict[str, Value]]:
    """Return the kind of GPU that ``endpoint`` runs on, and its circumstances, as far as they are known.

    The kind is empty where it is not known.
    """
    engines, containers, gpus = views.get(ENGINES), views.get(CONTAINERS), views.get(GPUS)
    engine = engines.value.engine(endpoint) if engines else None
    container = None
    if engine is not None and engine.container and containers is not None:
        found = (each for each in containers.value.containers if each.id == engine.container)
        container = next(found, None)
    used = _used(gpus.value, container) if gpus else ()
    kind = " + ".join(sorted({each.name for each in used}))
    return kind, {
        **_of_engine(engine),
        **_of_container(container),
        **(_of_gpus(gpus.value, used) if gpus else {}),
    }


def _used(gpus: GpusView, container: ContainerSummary | None) -> tuple[GpuUse, ...]:
    """Return the GPUs of the engine: those with its processes, else all where all are of one kind."""
    if container is not None:
        own = tuple(
            each
            for each in gpus.gpus
            if any(process.container == container.id for process in each.processes or ())
        )
        if own:
            return own
    return gpus.gpus if len({each.name for each in gpus.gpus}) == 1 else ()


def _of_engine(engine: EngineState | None) -> dict[str, Value]:
    if engine is None:
        return {}
    found: dict[str, Value] = {"engine": engine.engine or None, "engine address": engine.url or None}
    if engine.model_bytes and engine.model_gpu_bytes is not None:
        found["share of the model on GPUs"] = round(engine.model_gpu_bytes / engine.model_bytes, 2)
    return found


def _of_container(container: ContainerSummary | None) -> dict[str, Value]:
    if container is None:
        return {}
    return {
        "image": container.image,
        "container": container.id[:12],
        "start of the container": _utc(container.started_at),
        **_of_arguments(container),
    }


def _utc(at: float | None) -> str | None:
    return None if at is None else time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(at))


def _of_arguments(container: ContainerSummary) -> dict[str, Value]:
    """Return each option with its value, without secrets, and what is no option in one text."""
    redactor = Redactor.of(container.environment, container.arguments)
    found: dict[str, str] = {}
    others, name = [], ""
    for each in redactor.arguments(container.arguments):
        if each.startswith("-") and len(found) < _MOST_OPTIONS:
            name, sign, value = each.partition("=")
            found[name] = value if sign else "given"
            name = "" if sign else name
        elif name:
            found[name], name = each, ""
        else:
            others.append(each)
    return {"arguments": " ".join(others) or None, **found}


def _of_gpus(gpus: GpusView, used: tuple[GpuUse, ...]) -> dict[str, Value]:
    found: dict[str, Value] = {"driver": gpus.driver_version or None}
    if used:
        found["number of GPUs"] = len(used)
    for each in used[:_MOST_GPUS]:
        found[f"power limit of GPU {each.index} in W"] = each.power_limit_watts
        if each.processes is not None:
            found[f"processes on GPU {each.index}"] = len(each.processes)
    return found
