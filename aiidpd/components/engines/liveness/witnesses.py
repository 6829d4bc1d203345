"""Witnesses of an engine's work beside its own page: CPU, block devices and GPUs of its processes (pure).

A window counts as a whole: a health check that runs for a moment in the container makes no idle window a
busy one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from aiidpd.components.engines.liveness.observation import Observation

LONGEST_GAP_SECONDS: Final = 10.0
"""Between two samples: over more, what the GPU did meanwhile is not known."""
_MOST_SAMPLES: Final = 600
_WRITTEN_BYTES: Final = 1 << 20
"""Bytes a second that are written late, from the kernel's memory, and are no work."""
_READ_BYTES: Final = 4096
_STALE_SECONDS: Final = 30.0


class Activity(StrEnum):
    """Activity of all witnesses together."""

    IDLE = "idle"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sample:
    """Counters at ``at`` (monotonic seconds); ``gpu`` is the highest utilisation since the sample before."""

    at: float
    cpu_seconds: float | None
    read_bytes: int | None
    written_bytes: int | None
    blocked: bool
    seen: bool
    gpu: float | None


@dataclass(frozen=True, slots=True)
class Idle:
    """Levels up to which a witness is idle: CPU in cores, utilisation of a GPU as a ratio."""

    cpu: float = 0.03
    gpu: float = 0.05


@dataclass(frozen=True, slots=True)
class Witnesses:
    """Samples of one engine's processes, the oldest first, without a gap."""

    samples: tuple[Sample, ...] = ()
    peak: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Window:
    """Account of the last ``seconds``. What is not known is None."""

    activity: Activity
    seconds: float = 0.0
    cpu_seconds: float | None = None
    moved_bytes: int | None = None
    gpu: float | None = None
    reason: str = ""
    """Cause of an activity that is not idle, in words."""

    @property
    def cores(self) -> float | None:
        """CPU seconds a second."""
        return self.cpu_seconds / self.seconds if self.cpu_seconds is not None and self.seconds else None


def add(before: Witnesses, seen: Observation, longest_seconds: float) -> Witnesses:
    """Return the samples after an observation; those older than ``longest_seconds`` go."""
    level = _gpu_level(seen)
    peak = None if before.peak is None or level is None else max(before.peak, level)
    use = seen.use
    if use is None or use.frozen:
        return Witnesses(peak=level)
    last = before.samples[-1] if before.samples else None
    if last is not None and use.read <= last.at:
        if seen.now - last.at > _STALE_SECONDS:
            return Witnesses(peak=level)
        return replace(before, peak=peak)
    sample = Sample(
        use.read,
        use.cpu_seconds,
        use.read_bytes,
        use.written_bytes,
        blocked=bool(use.blocked),
        seen=bool(use.pids),
        gpu=peak,
    )
    samples = before.samples
    if last is not None and (sample.at - last.at > LONGEST_GAP_SECONDS or _went_back(last, sample)):
        samples = ()
    oldest = sample.at - longest_seconds - LONGEST_GAP_SECONDS
    if samples and samples[0].at < oldest:
        samples = tuple(each for each in samples if each.at >= oldest)
    return Witnesses((*samples[-_MOST_SAMPLES + 1 :], sample), level)


def over(witnesses: Witnesses, seconds: float, idle: Idle, now: float) -> Window:
    """Return the account of at least the last ``seconds``; unknown where samples don't reach back so far."""
    samples = witnesses.samples
    if not samples or now - samples[-1].at > LONGEST_GAP_SECONDS:
        return Window(Activity.UNKNOWN, reason="what its processes do is not known")
    end = samples[-1]
    places = [place for place, each in enumerate(samples) if each.at <= end.at - seconds]
    if not places:
        reason = f"its processes were watched for less than {seconds:.0f} s"
        return Window(Activity.UNKNOWN, end.at - samples[0].at, reason=reason)
    return _account(samples[places[-1] :], idle)


def last(witnesses: Witnesses, idle: Idle) -> Window:
    """Return the account between the last two samples."""
    if len(witnesses.samples) < 2:  # noqa: PLR2004 -- a rate needs two
        return Window(Activity.UNKNOWN, reason="what its processes do is not known")
    return _account(witnesses.samples[-2:], idle)


def _account(samples: tuple[Sample, ...], idle: Idle) -> Window:
    first, end = samples[0], samples[-1]
    seconds = end.at - first.at
    cpu = _difference(first.cpu_seconds, end.cpu_seconds)
    read = _difference(first.read_bytes, end.read_bytes)
    written = _difference(first.written_bytes, end.written_bytes)
    moved = None if read is None or written is None else int(read + written)
    levels = [each.gpu for each in samples[1:]]
    known = [each for each in levels if each is not None]
    gpu = max(known, default=0.0) if len(known) == len(levels) else None
    busy, unknown = [], []
    if cpu is None:
        unknown.append("their CPU time is not known")
    elif cpu > idle.cpu * seconds:
        busy.append(f"they used {cpu:.2f} s of CPU")
    if (read or 0) >= _READ_BYTES or (written or 0) >= _WRITTEN_BYTES * seconds:
        busy.append(f"they moved {(read or 0) + (written or 0):.0f} bytes from and to disks")
    if any(each.blocked for each in samples[1:]):
        busy.append("one of them waits for a disk or a driver (state D)")
    elif moved is None and not all(each.seen for each in samples):
        unknown.append("their reads and writes are not known")
    if any(level > idle.gpu for level in known):
        busy.append(f"their GPU is at {100 * max(known):.0f} %")
    elif gpu is None:
        unknown.append("the use of their GPU is not known")
    activity = Activity.BUSY if busy else Activity.UNKNOWN if unknown else Activity.IDLE
    return Window(activity, seconds, cpu, moved, gpu, "; ".join(busy or unknown))


def _gpu_level(seen: Observation) -> float | None:
    """Return the utilisation of the engine's GPUs; 0 where it uses and requested none, None if unknown."""
    gpu = seen.gpu
    if gpu is not None and gpu.gpus:
        return gpu.utilisation_ratio
    # One that requested a GPU and is in no list of processes may be there under another name.
    return 0.0 if seen.wants_gpu is False else None


def _difference(first: float | None, end: float | None) -> float | None:
    return None if first is None or end is None else end - first


def _went_back(before: Sample, after: Sample) -> bool:
    pairs = (
        (before.cpu_seconds, after.cpu_seconds),
        (before.read_bytes, after.read_bytes),
        (before.written_bytes, after.written_bytes),
    )
    return any(first is not None and end is not None and end < first for first, end in pairs)
