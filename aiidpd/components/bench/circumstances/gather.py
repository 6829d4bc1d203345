"""Circumstances of an endpoint that don't vary within a measurement: engine, container, model."""

from __future__ import annotations

import time
from typing import Final

from aiidpd.components.bench.regression.circumstances import Value
from aiidpd.contracts.containers import CONTAINERS, ContainerSummary
from aiidpd.contracts.engines import ENGINES, EngineState
from aiidpd.contracts.gpus import GpusView, GpuUse
from aiidpd.contracts.models import MODELS
from aiidpd.kernel.views import Views
from aiidpd.platform.redaction import Redactor

_MOST_OPTIONS: Final = 32


def container_of(views: Views, endpoint: str) -> ContainerSummary | None:
    """Return the container of the engine of ``endpoint``, None where none is known."""
    engines, containers = views.get(ENGINES), views.get(CONTAINERS)
    engine = engines.value.engine(endpoint) if engines else None
    if engine is None or not engine.container or containers is None:
        return None
    return next((each for each in containers.value.containers if each.id == engine.container), None)


def gather(views: Views, endpoint: str) -> dict[str, Value]:
    """Return the circumstances of ``endpoint``, as far as they are known."""
    engines = views.get(ENGINES)
    engine = engines.value.engine(endpoint) if engines else None
    return {
        **_of_engine(engine),
        "model digest": _model_digest(views, endpoint),
        **_of_container(container_of(views, endpoint)),
    }


def _model_digest(views: Views, endpoint: str) -> str | None:
    """Return the digest of the model that the engine has loaded, None where that is not one alone."""
    models = views.get(MODELS)
    found = {each.digest for each in models.value.models if endpoint in each.engines} if models else set()
    return next(iter(found)) or None if len(found) == 1 else None


def used_gpus(gpus: GpusView, container: ContainerSummary | None) -> tuple[GpuUse, ...]:
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
    found: dict[str, Value] = {
        "engine": engine.engine or None,
        "engine version": engine.version or None,
        "engine address": engine.url or None,
    }
    if engine.model_bytes and engine.model_gpu_bytes is not None:
        found["share of the model on GPUs"] = round(engine.model_gpu_bytes / engine.model_bytes, 2)
    return found


def _of_container(container: ContainerSummary | None) -> dict[str, Value]:
    if container is None:
        return {}
    return {
        "image": container.image,
        "image digest": container.image_id or None,
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
