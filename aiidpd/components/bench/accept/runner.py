"""One acceptance: starts the process that measures, watches the machine meanwhile, and gives the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from aiidpd.api.client import ControlClient
from aiidpd.components.bench.accept.criteria import UNDER_LOAD, Profile
from aiidpd.components.bench.accept.limits import Machine, limits
from aiidpd.components.bench.accept.machine import Given, machine_of
from aiidpd.components.bench.accept.profile_text import ProfileError, parse_profile
from aiidpd.components.bench.accept.report import Report
from aiidpd.components.bench.accept.verdict import Measured, assess, plausible
from aiidpd.components.bench.accept.watching import LoadWatch, others
from aiidpd.components.bench.apart import Child, child
from aiidpd.components.bench.given import NotUsable, is_local

MODULE: Final = "aiidpd.components.bench.accept.process"
SHIPPED: Final = ("default", "seed")
_FOLDER: Final = Path(__file__).resolve().parent
_LIMIT_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class AcceptanceRequest:
    """Request of one acceptance. ``profile`` is the TOML text; ``engine`` and ``model`` may be empty.

    ``connect`` opens a client of the daemon, None where none is to be asked for.
    """

    url: str
    profile: str
    model: str = ""
    engine: str = ""
    api_key: str = field(default="", repr=False)
    given: Given = field(default_factory=Given)
    connect: Callable[[], ControlClient] | None = None


def read_profile(name: str) -> str:
    """Return the text of a shipped profile or of a file; raises :class:`NotUsable`. Blocks."""
    path = _FOLDER / f"{name}.toml" if name in SHIPPED else Path(name)
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        shipped = " and ".join(SHIPPED)
        why = (error.strerror or "error").lower()
        raise NotUsable(f"cannot read {path}: {why}; shipped are {shipped}") from None
    if len(data) > _LIMIT_BYTES:
        raise NotUsable(f"cannot read {path}: it is larger than {_LIMIT_BYTES // 1024} KiB")
    try:
        text = data.decode()
        parse_profile(text)
    except UnicodeDecodeError:
        raise NotUsable(f"cannot read {path}: it is no text") from None
    except ProfileError as error:
        raise NotUsable(f"cannot read {path}: {error}") from None
    return text


def accept(
    asked: AcceptanceRequest,
    progress: Callable[[str], None],
    started: Callable[[Child], None] = lambda _: None,
) -> Report:
    """Measure, and return the report. Blocks for as long as the profile says; raises :class:`NotUsable`.

    ``started`` is given the process that measures, so that another thread can end it.
    """
    profile = parse_profile(asked.profile)
    local = is_local(asked.url)
    begun = time.monotonic()
    disturbed: tuple[str, ...] = ()
    if asked.connect is not None:
        with asked.connect() as client:
            disturbed = others(client, asked.url)
    watch = LoadWatch(asked.connect) if asked.connect is not None and local else None
    try:
        found, problem = _measured(asked, watch, progress, started)
    finally:
        if watch is not None:
            watch.stop()
    if problem:
        return _nothing(asked, profile, problem, time.monotonic() - begun)
    figures = {name: Measured(**each) for name, each in found["figures"].items()}
    figures |= _seen(watch, figures, local=local)
    described = found["described"]
    machine = _machine(asked, described, local=local)
    of = limits(machine, prompt_tokens=found["prompt_tokens"], streams=profile.concurrency.streams)
    figures = plausible(figures, of)
    engine = asked.engine or described["engine"]
    return Report(
        target=asked.url,
        model=described["model"],
        engine=engine,
        profile=profile.name,
        verdicts=assess(profile, engine, figures, of),
        figures=figures,
        requests=found["requests"],
        seconds=time.monotonic() - begun,
        notes=(*disturbed, *machine.notes, *found["notes"]),
    )


def _machine(asked: AcceptanceRequest, described: Mapping[str, Any], *, local: bool) -> Machine:
    if asked.connect is None:
        return machine_of(asked.given, described, None, local=local)
    with asked.connect() as client:
        return machine_of(asked.given, described, client, local=local)


def _measured(
    asked: AcceptanceRequest,
    watch: LoadWatch | None,
    progress: Callable[[str], None],
    started: Callable[[Child], None],
) -> tuple[dict[str, Any], str]:
    """Return the document of the process that measures, or why there is none."""
    plan = {"url": asked.url, "model": asked.model, "api_key": asked.api_key, "profile": asked.profile}
    with child(MODULE, plan) as process:
        started(process)
        for line in process.lines():
            if "measurement" in line:
                return line["measurement"], ""
            if "error" in line:
                if line["usage"]:
                    raise NotUsable(line["error"])
                return {}, line["error"]
            if watch is not None and line["phase"] == "load":
                watch.start()
            if watch is not None and line["phase"] == "loaded":
                watch.stop()
            if line["words"]:
                progress(line["words"])
        return {}, process.ended


def _seen(watch: LoadWatch | None, figures: Mapping[str, Measured], *, local: bool) -> dict[str, Measured]:
    """Return what the daemon saw of the machine under load; what answers said of memory counts as well."""
    said = figures.get("out_of_memory", Measured()).value or 0.0
    if watch is None:
        where = "no daemon is asked" if local else "the server is on another machine"
        missing = Measured(reason=f"{where}, and the requests can't show it")
        found = dict.fromkeys(UNDER_LOAD, missing)
    else:
        found = {"gpu_utilization": watch.utilization(), "out_of_memory": watch.out_of_memory()}
    if said:
        seen = found["out_of_memory"]
        found["out_of_memory"] = replace(
            figures["out_of_memory"], value=said + (seen.value or 0.0), samples=1
        )
    return found


def _nothing(asked: AcceptanceRequest, profile: Profile, problem: str, seconds: float) -> Report:
    """Return the report of an acceptance in which nothing could be measured."""
    figures = {each.figure: Measured(reason=problem) for each in profile.criteria}
    verdicts = assess(profile, asked.engine, figures, limits(Machine(), prompt_tokens=None, streams=1))
    return Report(
        target=asked.url,
        model=asked.model,
        engine=asked.engine,
        profile=profile.name,
        verdicts=verdicts,
        figures=figures,
        requests=0,
        seconds=seconds,
        problem=problem,
    )
