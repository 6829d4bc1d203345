"""Faults: driver calls that failed, and the remedy of each (pure)."""

from __future__ import annotations

from dataclasses import dataclass

NO_ANSWER = "NO_ANSWER"
"""Our own name: the call hung, and its process was killed. What it was to set may be set all the same."""

DIED = "DIED"
"""Our own name: the process in which the call ran ended. What it was to set may be set all the same."""

IMPLAUSIBLE = "IMPLAUSIBLE"
"""Our own name: the driver gave a value that can't be true, so it is left out."""

LIBRARY_NOT_FOUND = "LIBRARY_NOT_FOUND"
"""NVML's name: there is no driver on this machine."""

_REBOOT = "the GPU needs a reset or a reboot; `dmesg | grep -i xid` tells what happened to it"
_REMEDIES = {
    "NO_GPUS": "see that `nvidia-smi -L` lists GPUs; where it does as root, the unit hides them: "
    "its DeviceAllow must name char-nvidia, not char-nvidia-frontend alone",
    "NO_PERMISSION": "give the daemon's user access to /dev/nvidiactl and /dev/nvidia*, by its group",
    "DRIVER_NOT_LOADED": "load it (`modprobe nvidia`); where /dev/nvidiactl is there, "
    "the unit's DeviceAllow must name char-nvidia",
    LIBRARY_NOT_FOUND: 'install the NVIDIA driver\'s libnvidia-ml.so.1, or set gpu.library = "off"',
    "LIB_RM_VERSION_MISMATCH": "the driver was upgraded under a loaded kernel module: "
    "reload the nvidia modules or reboot",
    "GPU_IS_LOST": _REBOOT,
    "RESET_REQUIRED": _REBOOT,
    "TIMEOUT": "the driver is overloaded or stuck; `dmesg | grep -i nvrm` tells more",
    "UNINITIALIZED": "a fresh process takes over; where it stays, see that `nvidia-smi` works",
    "DRIVER_CHANGED": "a fresh process takes over with the new driver's library",
    NO_ANSWER: "the driver is stuck; `dmesg | grep -i nvrm` tells more",
    DIED: "a fresh process takes over; where it stays, see that `nvidia-smi` works",
    IMPLAUSIBLE: "compare with `nvidia-smi -q`; the sensor or the driver may be failing",
    "UNKNOWN": "`dmesg | grep -i nvrm` may tell more",
}


@dataclass(frozen=True, slots=True)
class GpuFault:
    """A call that failed: on the GPU at ``index``, or on the library as a whole where that is None.

    ``code`` and ``name`` are NVML's (15, ``GPU_IS_LOST``). Names without a code are our own: ``NO_GPUS``
    (the driver works and lists nothing), ``DRIVER_CHANGED``, and those above. ``call`` is NVML's name of
    the call; with ``IMPLAUSIBLE`` it is the figure and its value.
    """

    index: int | None
    call: str
    code: int | None
    name: str

    def __str__(self) -> str:
        if self.name == IMPLAUSIBLE:
            return f"{self.call} can't be true"
        code = "" if self.code is None else f" (NVML error {self.code})"
        return f"{self.call} says {self.name}{code}"

    @property
    def subject(self) -> str:
        """Subject of the failure: one GPU, or all."""
        return "GPUs" if self.index is None else f"GPU {self.index}"

    @property
    def remedy(self) -> str:
        """Advice to a person; empty where there is none."""
        return _REMEDIES.get(self.name, "")
