"""``aiidpd doctor``: the checks of the daemon and of every component, without a daemon.

Each check runs in a thread of its own, for a bounded time. One that hangs, or fails by itself, costs its own
line and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar

from aiidpd import __version__
from aiidpd.component import Spec
from aiidpd.components.all import COMPONENTS
from aiidpd.config.load import DEFAULT_PATH
from aiidpd.config.schema import PREFIX, Settings
from aiidpd.contracts.checks import Check, CheckResult, Outcome, Surroundings, failed, warning
from aiidpd.daemon.checks import clock, config, folders, kernel, keys, libraries, ports, unit
from aiidpd.daemon.checks.surroundings import own, surroundings
from aiidpd.daemon.schema import SCHEMA
from aiidpd.kernel.errors import AiidpdError
from aiidpd.kernel.errors import describe as in_words
from aiidpd.platform.unit_file import environment

T = TypeVar("T")

UNIT: Final = "aiidpd.service"
_MOST: Final = 200  # results of one check
_LONGEST: Final = 2000  # characters of a line


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the answer: a check's name and one of its results."""

    name: str
    result: CheckResult


def doctor(
    path: Path | None, environ: Mapping[str, str], specs: Sequence[Spec] = COMPONENTS
) -> tuple[Line, ...]:
    """Return what all checks find, by the configuration at ``path`` and ``environ``."""
    lines: list[tuple[str, CheckResult]] = []
    around = _read("unit", lambda: surroundings(UNIT), own, lines)
    if path in (None, DEFAULT_PATH):  # the service's own: what its unit sets counts too
        set_by_unit = environment(around.described.get("Environment", ()))
        environ = {name: set_by_unit[name] for name in set_by_unit if name.startswith(PREFIX)} | dict(environ)
    settings = _read(config.NAME, lambda: config.read(path, environ), SCHEMA.settings, lines)
    checks: list[Check] = []
    for make in (libraries, kernel, clock, unit, folders, ports, keys):
        checks += _made(make.__name__.rpartition(".")[2], make.checks, settings, around, lines)
    for spec in specs:
        checks += _made(spec.name, spec.checks, settings, around, lines)
    return (*(Line(*each) for each in lines), *run(checks))


def _read(
    name: str,
    read: Callable[[], tuple[T, list[tuple[str, CheckResult]]]],
    otherwise: Callable[[], T],
    lines: list[tuple[str, CheckResult]],
) -> T:
    """Return what ``read`` reads, and add its ``lines``; where it hangs or fails, return ``otherwise``."""
    found: list[T] = []

    def check() -> Iterable[CheckResult]:
        value, more = read()
        found.append(value)
        lines.extend(more)
        return ()

    lines += [(line.name, line.result) for line in run((Check(name, check),))]
    return found[0] if found else otherwise()


def _made(
    name: str,
    make: Callable[[Settings, Surroundings], Sequence[Check]],
    settings: Settings,
    around: Surroundings,
    lines: list[tuple[str, CheckResult]],
) -> Sequence[Check]:
    """Return the checks that ``make`` makes; where that fails, a line of ``lines`` says so."""
    try:
        return make(settings, around)
    except Exception as error:  # noqa: BLE001 -- one component must not cost the answer of the others
        lines.append((name, _broken(error)))
        return ()


def run(checks: Sequence[Check], now: Callable[[], float] = time.monotonic) -> tuple[Line, ...]:
    """Return the results of ``checks``, in their order; they run side by side, each for its time at most."""
    begun = now()
    running = []
    for check in checks:
        results: list[CheckResult] = []
        thread = Thread(target=_into, args=(check, results), name=f"check {check.name}", daemon=True)
        thread.start()
        running.append((check, thread, results))
    lines: list[Line] = []
    for check, thread, results in running:
        thread.join(max(0.0, check.seconds - (now() - begun)))
        hangs = thread.is_alive()
        found = list(results)[:_MOST]
        if hangs:
            reason = f"it did not end within {check.seconds:g} s"
            cure = "look for a dead disk, network mount or driver (dmesg)"
            found.append(failed(reason, cure))
        lines += [Line(check.name, each) for each in found]
    return tuple(lines)


def _into(check: Check, results: list[CheckResult]) -> None:
    """Run ``check``; append each result, and what it raises, to ``results``."""
    try:
        for each in check.run():
            results.append(each)  # noqa: PERF402 -- those before a failure count too
    except AiidpdError as error:
        results.append(failed(error.reason or str(error), error.remedy))
    except PermissionError as error:
        where = f" {error.filename}" if error.filename else ""
        results.append(warning(f"user {os.geteuid()} may not read{where}", "call aiidpd doctor as root"))
    except BaseException as error:  # noqa: BLE001 -- never a traceback
        results.append(_broken(error))


def _broken(error: BaseException) -> CheckResult:
    return failed(
        f"the check itself failed: {in_words(error)}", "report it, with what `aiidpctl bundle` writes"
    )


def worst(lines: Iterable[Line]) -> Outcome:
    """Return the worst outcome of ``lines``."""
    grave = list(Outcome)
    return max((line.result.outcome for line in lines), key=grave.index, default=Outcome.OK)


def document(lines: Sequence[Line]) -> dict[str, Any]:
    """Return ``lines`` as a document of JSON."""
    return {
        "version": __version__,
        "user": os.geteuid(),
        "outcome": worst(lines).value,
        "checks": [
            {
                "name": line.name,
                "outcome": line.result.outcome.value,
                "found": line.result.found[:_LONGEST],
                "cure": line.result.cure[:_LONGEST],
            }
            for line in lines
        ],
    }
