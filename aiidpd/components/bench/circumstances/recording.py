"""Recording of what is so while an endpoint answers, from the beginning of a measurement to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from aiidpd.components.bench.circumstances.gather import container_of, gather, used_gpus
from aiidpd.components.bench.circumstances.gpus import GpuMoment, of_gpus, throttled
from aiidpd.components.bench.circumstances.host import read_host
from aiidpd.components.bench.regression.circumstances import Value, bounded
from aiidpd.contracts.gpus import GPUS, GpusView, GpuUse
from aiidpd.kernel.clock import Clock
from aiidpd.kernel.views import Views
from aiidpd.platform.thread import in_daemon_thread

_MOST_MOMENTS: Final = 600
_WAITS: Final = 3.0  # seconds for which the first reading of the GPUs after the end is waited for
_LOOKS: Final = 0.25


@dataclass(frozen=True, slots=True)
class Found:
    """Circumstances by name, the kind of GPU, and what throttled it; empty is what is not known."""

    gpu: str = ""
    circumstances: dict[str, Value] = field(default_factory=dict)
    throttled: str = ""


class Recording:
    """Circumstances of one measurement of ``endpoint``, from now on; ``simulated`` where that is made up.

    GPUs that are made up are none of an endpoint that is real, nor the other way round.
    """

    def __init__(self, views: Views, clock: Clock, endpoint: str, *, simulated: bool = False) -> None:
        self._simulated = simulated
        self._views = views
        self._clock = clock
        self._endpoint = endpoint
        self._container = container_of(views, endpoint)
        self._began = clock.monotonic()
        self._moments: list[GpuMoment] = []
        self.read()

    def read(self) -> None:
        """Take the newest reading of the GPUs where it is a new one."""
        reading = self._views.get(GPUS)
        if reading is None or reading.value.simulated is not self._simulated:
            return
        if self._moments and self._moments[-1].at == reading.read:
            return
        if len(self._moments) < _MOST_MOMENTS:
            self._moments.append(GpuMoment(reading.read, reading.value))

    def places(self) -> tuple[str, ...]:
        """Return the GPUs on which it runs, none where that is not known."""
        return tuple(each.uuid for each in self._used(self._moments[-1].view)) if self._moments else ()

    async def end(self) -> Found:
        """Return what was so since the beginning; waits for the next reading of the GPUs."""
        ended = self._clock.monotonic()
        self.read()
        while self._moments and self._moments[-1].at < ended and self._clock.monotonic() - ended < _WAITS:
            await self._clock.sleep(_LOOKS)
            self.read()
        host = {} if self._simulated else await in_daemon_thread(read_host)
        moments = self._moments
        used = self._used(moments[-1].view) if moments else ()
        return Found(
            " + ".join(sorted({each.name for each in used})),
            bounded(
                {
                    **of_gpus(moments, self._used, self._began, ended),
                    **host,
                    **gather(self._views, self._endpoint),
                }
            ),
            throttled(moments, self._used, self._began, ended),
        )

    def _used(self, view: GpusView) -> tuple[GpuUse, ...]:
        return used_gpus(view, self._container)
