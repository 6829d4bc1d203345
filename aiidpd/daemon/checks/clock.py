"""Checks of the clock: whether it is synchronised, and whether the hardware's agrees."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok, warning

RTC: Final = Path("/sys/class/rtc/rtc0/since_epoch")
_UNSYNCHRONISED: Final = 0x40  # STA_UNSYNC (adjtimex(2))
_ERROR: Final = 5  # TIME_ERROR
_BEGUN: Final = 1_735_689_600  # 2025: before this program was written
_APART: Final = 120  # seconds that the two clocks may differ
_ZONE: Final = 14 * 3600 + _APART
_QUARTER: Final = 900


class _Timex(ctypes.Structure):
    """Beginning of the kernel's struct timex, with room for what follows."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_char * 512),
    )


def checks(_settings: Settings, _around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    return (Check("clock", clock),)


def clock(
    now: Callable[[], float] = time.time,
    synchronised: Callable[[], bool | None] | None = None,
    rtc: Path = RTC,
) -> Iterator[CheckResult]:
    """Yield whether the clock can be relied on."""
    at = now()
    if at < _BEGUN:
        cure = "set it, and install systemd-timesyncd or chrony: times of events and backups are wrong now"
        yield failed(
            f"the clock says {time.strftime('%Y-%m-%d', time.gmtime(at))}, before aiidpd was made", cure
        )
        return
    state = (synchronised or kernel_synchronised)()
    if state is None:
        yield ok("the kernel does not say whether the clock is synchronised")
    elif state:
        yield ok("the clock is synchronised")
    else:
        cure = (
            "install and start systemd-timesyncd or chrony; in a container or a virtual machine, on its host"
        )
        yield warning("the clock is not synchronised with anything", cure)
    yield from _hardware(at, rtc)


def kernel_synchronised() -> bool | None:
    """Return whether the kernel's clock is synchronised, None where it does not say."""
    try:
        library = ctypes.CDLL(None, use_errno=True)
        given = _Timex()
        state = library.adjtimex(ctypes.byref(given))
    except (OSError, AttributeError):
        return None
    if state < 0:
        return None
    return state != _ERROR and not given.status & _UNSYNCHRONISED


def _hardware(now: float, rtc: Path) -> Iterator[CheckResult]:
    try:
        apart = int(rtc.read_text()) - now
    except (OSError, ValueError):
        return  # a container or a virtual machine has none
    if abs(apart) <= _APART:
        return
    off = abs(apart) % _QUARTER
    if abs(apart) <= _ZONE and min(off, _QUARTER - off) <= _APART:
        cure = "timedatectl set-local-rtc 0: at a boot, times jump until the clock is synchronised"
        yield warning("the hardware clock is in local time", cure)
    else:
        cure = "hwclock --systohc; where it comes back, the battery of the board is empty"
        yield warning(f"the hardware clock is {abs(apart):.0f} s {'ahead' if apart > 0 else 'behind'}", cure)
