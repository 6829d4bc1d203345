"""Names why a container died, from the last lines of its log or the runtime's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiidpd.components.containers.actions import ContainerActions
from aiidpd.components.containers.logs.conditions import clip
from aiidpd.components.containers.logs.failures import LastFailure, NamedFailure, name_failure
from aiidpd.components.containers.logs.lines import EARLY_LINES, LogLine, parse
from aiidpd.components.containers.logs.named import SHORT, Death, NamedFailures
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.errors import Unavailable
from aiidpd.kernel.events import Severity
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.reading import Reading
from aiidpd.platform.redaction import Redactor

FAILURE_NAMED: Final = "container.failure_named"
_LINES: Final = 200
_BEFORE: Final = 3600.0  # seconds of log that are read where the run's start is not known
_FLUSHED: Final = 0.1  # seconds by which a line may be later than the end of its run
_AGAIN: Final = 600.0  # seconds after which the same failure of a container is published again
_MOST: Final = 1000  # containers of which it is remembered


class FailureNamer:
    """Reads the end of a log, and publishes and remembers the failure that it names."""

    def __init__(
        self,
        failures: NamedFailures,
        containers: Callable[[], Reading[RuntimeSnapshot] | None],
        publish: Publisher,
        clock: Clock,
    ) -> None:
        self._failures = failures
        self._containers = containers
        self._publish = publish
        self._clock = clock
        self._start_errors: dict[str, str] = {}
        self._published: dict[str, tuple[str, float]] = {}

    async def name(self, actions: ContainerActions, death: Death) -> LastFailure | None:
        """Return the failure of which a container died; None where nothing names it."""
        since = death.run - EARLY_LINES if death.run is not None else death.at - _BEFORE
        try:
            tail = await actions.logs(death.container, lines=_LINES, since=since)
        except Unavailable:
            tail = None  # the facts of its end may name it all the same
        until = death.at + _FLUSHED  # after that it is another run
        lines = [each.text for each in parse(tail.lines if tail else ()) if _before(each, until)]
        named = name_failure(lines, exit_code=death.exit_code, out_of_memory=death.out_of_memory)
        return None if named is None else self._found(death, named)

    def name_start_errors(self, *, simulated: bool) -> None:
        """Name what the runtime itself says of each container that it could not start, once."""
        reading = self._containers()
        errors = {
            each.id: each
            for each in (reading.value.containers if reading is not None else ())
            if each.error and not each.running
        }
        for each in errors.values():
            if self._start_errors.get(each.id) == each.error:
                continue
            named = name_failure([each.error])
            if named is not None:
                at = each.finished_at or self._clock.time()
                self._found(
                    Death(
                        each.id, each.name, at, None, each.exit_code, out_of_memory=False, simulated=simulated
                    ),
                    named,
                )
        self._start_errors = {identity: each.error for identity, each in errors.items()}

    def _found(self, death: Death, named: NamedFailure) -> LastFailure:
        container = self._container(death.container)
        identity = container.id if container is not None else death.container
        short = identity[:SHORT]  # the first death may come before the full id is known
        line = clip(redacted(container, named.line))
        found = LastFailure(identity, death.at, named, line, death.exit_code)
        self._failures.put(found)
        last = self._published.get(short)
        if last is None or last[0] != named.failure.name or death.at - last[1] >= _AGAIN:
            self._published.pop(short, None)
            self._published[short] = (named.failure.name, death.at)
            while len(self._published) > _MOST:
                del self._published[next(iter(self._published))]
            self._report(death, found)
        return found

    def _report(self, death: Death, found: LastFailure) -> None:
        failure = found.named.failure
        self._publish.marked(simulated=death.simulated).event(
            FAILURE_NAMED,
            f"it failed because {failure.title}; {failure.remedy}",
            about=death.name,
            severity=Severity.WARNING,
            id=found.container[:12],
            failure=failure.name,
            line=found.line,
            exit_code=death.exit_code,
        )

    def _container(self, identity: str) -> ContainerReading | None:
        reading = self._containers()
        containers = reading.value.containers if reading is not None else ()
        return next((each for each in containers if each.id.startswith(identity)), None)


def redacted(container: ContainerReading | None, line: str) -> str:
    """Return ``line`` of the log of ``container`` without secrets."""
    if container is None:
        return Redactor().text(line)
    return Redactor.of(container.environment, container.arguments).text(line)


def _before(line: LogLine, until: float) -> bool:
    return line.time is None or line.time <= until
