"""Checks of the NVIDIA driver: its parts of one version, and its GPUs visible."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import anyio

from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning
from aiidpd.kernel.errors import NotInstalled, Unavailable

ROOT: Final = Path("/")
_NVIDIA: Final = "0x10de"
_DISPLAY: Final = "0x03"  # class of a PCI device: display controllers
_NVML: Final = "libnvidia-ml.so"
_VERSION: Final = re.compile(r"\b(\d{3}\.\d+(?:\.\d+)?)\b")
_MAPPED: Final = re.compile(r"/\S*libnvidia-ml\.so\.(\d{3}\.\d+(?:\.\d+)?)")
_FOLDERS: Final = (
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "lib/x86_64-linux-gnu",
    "usr/lib/x86_64-linux-gnu/nvidia/current",
    "usr/local/nvidia/lib64",
    "usr/lib/wsl/lib",
)
_MOST_PROCESSES: Final = 4096
_LARGEST_MAPS: Final = 4 << 20
_PATIENCE: Final = 5.0
_NVML_SECONDS: Final = 30.0  # the first call of a process may initialise every GPU
_REBOOT: Final = "reboot, or end all that uses the GPUs and reload the nvidia modules (rmmod, modprobe)"


@dataclass(frozen=True, slots=True)
class DriverVersions:
    """Versions of the driver's parts, empty where one is not there."""

    loaded: str = ""
    """Of the kernel module that runs."""
    installed: str = ""
    """Of the kernel module on the disk, which the next boot loads."""
    library: str = ""
    """Of libnvidia-ml on the disk, which the next process loads."""
    in_use: tuple[str, ...] = ()
    """Of libnvidia-ml in processes that run."""


def checks(settings: GpuSettings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    if settings.library == "off":
        return (Check("gpu", lambda: (ok("switched off by gpu.library"),)),)
    if settings.library == "simulated":
        cure = 'set gpu.library = "auto" to watch real ones'
        return (Check("gpu", lambda: (warning("the GPUs are SIMULATED by gpu.library", cure),)),)
    return (
        Check("gpu-driver", lambda: driver(versions(ROOT), cards(ROOT))),
        Check("gpu-devices", lambda: devices(around)),
        Check("gpu-visible", lambda: visible(needed=settings.library == "nvml"), _NVML_SECONDS),
    )


def versions(root: Path, modinfo: Callable[[], str] | None = None) -> DriverVersions:
    """Return the versions of the driver's parts below ``root``."""
    return DriverVersions(
        loaded=_module(root),
        installed=(modinfo or _modinfo)(),
        library=_library(root),
        in_use=tuple(sorted(_in_use(root))),
    )


def cards(root: Path) -> int:
    """Return how many graphics cards of NVIDIA the PCI bus has, the driver loaded or not."""
    found = 0
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        with suppress(OSError):
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
            found += vendor.startswith(_NVIDIA) and kind.startswith(_DISPLAY)
    return found


def driver(found: DriverVersions, there: int) -> Iterator[CheckResult]:
    """Yield whether the parts of the driver fit, with ``there`` cards in the machine."""
    if not found.loaded and not found.library:
        if there:
            cure = "install NVIDIA's driver (nvidia-driver), then reboot"
            yield failed(f"{there} cards of NVIDIA are in this machine, and no driver is installed", cure)
        else:
            yield ok("no NVIDIA driver is installed, and no card of NVIDIA is in this machine")
        return
    if not found.loaded:
        cure = "modprobe nvidia; where that fails, dmesg says why (Secure Boot, a kernel without its headers)"
        yield failed(f"the kernel module of driver {found.library} is not loaded", cure)
        return
    if not found.library:
        cure = (
            "install it (libnvidia-ml1, or the driver's compute libraries), or mount it into this container"
        )
        yield failed(f"the module {found.loaded} is loaded, and {_NVML}.1 is not installed", cure)
    elif found.library != found.loaded:
        running = "; what runs goes on with the old one, and " if found.loaded in found.in_use else "; "
        yield failed(
            f"the kernel module is {found.loaded}, the library on the disk {found.library}{running}"
            "whatever starts next, the daemon and containers among it, finds no GPU",
            _REBOOT,
        )
    else:
        yield ok(f"driver {found.loaded}: module and library agree")
    if found.installed and found.installed != (found.library or found.loaded):
        cure = "bring module and libraries to one version (the same package), before the next boot"
        yield failed(
            f"the next boot loads the kernel module {found.installed}, and the library is "
            f"{found.library or found.loaded}: no GPU is found from then on",
            cure,
        )
    old = [each for each in found.in_use if each != found.library]
    if old and found.library == found.loaded:
        cure = "restart what holds it (systemctl restart aiidpd; containers with a GPU)"
        yield warning(f"processes still use the library {', '.join(old)}", cure)


def devices(around: Surroundings, root: Path = ROOT) -> Iterator[CheckResult]:
    """Yield whether the daemon's user may open the driver's devices."""
    nodes = [*sorted((root / "dev").glob("nvidia[0-9]*")), root / "dev/nvidiactl"]
    closed, found = [], 0
    for node in nodes:
        with suppress(OSError):
            facts = node.stat()
            found += 1
            if not around.may(facts.st_mode, facts.st_uid, facts.st_gid, 6):
                closed.append(f"/dev/{node.name}")
    if closed:
        cure = f"let user {around.user} join the group of those devices (SupplementaryGroups= of the unit)"
        yield failed(f"user {around.user} may not open {', '.join(closed)}", cure)
    elif found:
        yield ok(f"user {around.user} may open {found} devices of the driver")
    elif (root / "proc/driver/nvidia/version").exists():
        cure = "nvidia-modprobe -c0 -u makes them; nvidia-persistenced at each boot"
        yield failed("the driver is loaded, and /dev/nvidiactl does not exist", cure)


def visible(read: Callable[[], GpuSnapshot] | None = None, *, needed: bool = False) -> Iterator[CheckResult]:
    """Yield which GPUs the driver's library shows to a fresh process; ``needed`` where there must be one."""
    try:
        snapshot = (read or _read)()
    except NotInstalled as error:
        if needed or cards(ROOT):
            yield failed(error.reason, error.remedy)
        else:
            yield ok("there is no NVIDIA driver, and no card for one: the daemon watches no GPU")
        return
    except Unavailable as error:
        yield failed(error.reason, error.remedy)
        return
    yield from (failed(f"{each.subject}: {each}", each.remedy) for each in snapshot.faults)
    if snapshot.gpus:
        named = ", ".join(f"{gpu.index}: {gpu.name}" for gpu in snapshot.gpus)
        yield ok(f"driver {snapshot.driver_version} shows {len(snapshot.gpus)} GPUs: {named}")


def _read() -> GpuSnapshot:
    async def read() -> GpuSnapshot:
        library = NvmlLibrary(call_timeout=_PATIENCE)
        try:
            return await library.read()
        finally:
            await library.aclose()

    return anyio.run(read)


def _module(root: Path) -> str:
    for path in (root / "sys/module/nvidia/version", root / "proc/driver/nvidia/version"):
        with suppress(OSError):
            if match := _VERSION.search(path.read_text(errors="replace")):
                return match[1]
    return ""


def _modinfo() -> str:
    """Return the version of the module on the disk, empty where nothing says it."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["modinfo", "-F", "version", "nvidia"],  # noqa: S607 -- /sbin here, /usr/sbin there
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
        if done.returncode == 0 and (match := _VERSION.search(done.stdout)):
            return match[1]
    return ""


def _library(root: Path) -> str:
    for folder in _FOLDERS:
        path = root / folder / f"{_NVML}.1"
        with suppress(OSError):
            if match := _VERSION.search(path.resolve(strict=True).name):
                return match[1]
    return ""


def _in_use(root: Path) -> set[str]:
    """Return the versions of the library that processes have in their memory, as far as they may be seen."""
    found: set[str] = set()
    processes = (each for each in (root / "proc").glob("[0-9]*"))
    for _, process in zip(range(_MOST_PROCESSES), processes, strict=False):
        with suppress(OSError), (process / "maps").open(errors="replace") as file:
            found |= set(_MAPPED.findall(file.read(_LARGEST_MAPS)))
    return found
