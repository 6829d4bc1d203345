"""Restores GPUs to their baselines; one counts as restored only when a reading shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aiidpd.components.thermal.commands import Command, SetPowerLimit
from aiidpd.components.thermal.faults import DIED, GpuFault
from aiidpd.components.thermal.governor.journal import Baseline
from aiidpd.components.thermal.governor.refusals import ABSENT, NO_PERMISSION
from aiidpd.components.thermal.gpu import GpuLibrary, GpuReading, GpuSnapshot
from aiidpd.kernel.errors import Unavailable

TOLERANCE_WATTS = 1.0
"""Limits that are this close are equal: drivers round."""

RIGHTS = (
    "the driver wants the capability CAP_SYS_ADMIN: install the drop-in governor.conf of the package "
    "(see docs/operations.md), or run `aiidpd restore-gpus` as root"
)
"""Remedy where the driver refuses to set anything."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of restoring one GPU: done where ``problem`` is empty."""

    uuid: str
    baseline: Baseline
    problem: str = ""
    remedy: str = ""

    @property
    def restored(self) -> bool:
        """True where the GPU is at its baseline."""
        return not self.problem


async def restore(library: GpuLibrary, gpus: Mapping[str, Baseline]) -> tuple[Outcome, ...]:
    """Set each of ``gpus`` back to its baseline and read it; one that fails does not hold up the others.

    Bounded by what bounds the library's calls. Raises nothing of the driver's.
    """
    refusals: dict[str, list[tuple[Command, GpuFault]]] = {uuid: [] for uuid in gpus}
    for uuid, baseline in gpus.items():
        for command in baseline.commands(uuid):
            fault = await library.apply(command)
            if fault is not None and fault.name == DIED:  # a fresh process takes over
                fault = await library.apply(command)
            if fault is not None and not _needless(command, fault):
                refusals[uuid].append((command, fault))
    try:
        snapshot = await library.read()
    except Unavailable as error:  # nothing is believed that was not read
        return tuple(Outcome(uuid, baseline, error.reason, error.remedy) for uuid, baseline in gpus.items())
    return tuple(_outcome(uuid, gpus[uuid], refusals[uuid], snapshot) for uuid in gpus)


def _needless(command: Command, fault: GpuFault) -> bool:
    """Return whether clocks need no unlocking, since the card can't lock them."""
    return not isinstance(command, SetPowerLimit) and fault.name in ABSENT


def _outcome(
    uuid: str, baseline: Baseline, refusals: list[tuple[Command, GpuFault]], snapshot: GpuSnapshot
) -> Outcome:
    found = next((gpu for gpu in snapshot.gpus if gpu.uuid == uuid), None)
    if found is None:
        remedy = "it is tried again when the GPU is back; what was set ends with a reset of the card"
        return Outcome(uuid, baseline, "the driver does not list it now", remedy)
    watts, limit = baseline.power_limit_watts, found.power_limit_set_watts
    right = watts is None or (limit is not None and abs(limit - watts) <= TOLERANCE_WATTS)
    # A limit that is right was refused for nothing: somebody else has set it.
    counting = [fault for command, fault in refusals if not (right and isinstance(command, SetPowerLimit))]
    if counting:
        fault = counting[0]
        return Outcome(uuid, baseline, str(fault), RIGHTS if fault.name == NO_PERMISSION else fault.remedy)
    if right:
        return Outcome(uuid, baseline)
    if limit is None:
        return Outcome(uuid, baseline, "its power limit can't be read back", "see `nvidia-smi -q -d POWER`")
    remedy = f"set it by hand: `nvidia-smi -i {uuid} -pl {watts:g}`"
    return Outcome(uuid, baseline, f"its power limit is {limit:g} W, not {watts:g} W", remedy)


def default_outcome(gpu: GpuReading, faults: Sequence[GpuFault | None]) -> str:
    """Return why ``gpu`` is not at its default limit, read after the commands that gave ``faults``."""
    fault = next((fault for fault in faults if fault is not None and fault.name not in ABSENT), None)
    if fault is not None:
        return f"{fault}; {RIGHTS if fault.name == NO_PERMISSION else fault.remedy}".rstrip("; ")
    limit, default = gpu.power_limit_set_watts, gpu.power_limit_default_watts
    if limit is not None and default is not None and abs(limit - default) > TOLERANCE_WATTS:
        return f"its power limit is {limit:g} W, not the default of {default:g} W"
    return ""
