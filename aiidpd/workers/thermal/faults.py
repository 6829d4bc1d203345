"""A driver call that failed, and what a person can do about it (pure)."""

from __future__ import annotations

from dataclasses import dataclass

_REBOOT = "the GPU needs a reset or a reboot; `dmesg | grep -i xid` tells what happened to it"
_REMEDIES = {
    "NO_GPUS": "see that `nvidia-smi -L` lists GPUs; where it does as root, the unit hides them: "
    "its DeviceAllow must name char-nvidia, not char-nvidia-frontend alone",
    "NO_PERMISSION": "give the daemon's user access to /dev/nvidiactl and /dev/nvidia*, by its group",
    "DRIVER_NOT_LOADED": "load it (`modprobe nvidia`); where /dev/nvidiactl is there, "
    "the unit's DeviceAllow must name char-nvidia",
    "LIBRARY_NOT_FOUND": 'install the NVIDIA driver\'s libnvidia-ml.so.1, or set gpu.library = "simulated"',
    "LIB_RM_VERSION_MISMATCH": "the driver was upgraded under a loaded kernel module: "
    "reload the nvidia modules or reboot",
    "GPU_IS_LOST": _REBOOT,
    "RESET_REQUIRED": _REBOOT,
    "TIMEOUT": "the driver is overloaded or stuck; `dmesg | grep -i nvrm` tells more",
    "UNKNOWN": "`dmesg | grep -i nvrm` may tell more",
}


@dataclass(frozen=True, slots=True)
class GpuFault:
    """A call that failed: on the GPU at ``index``, or on the library as a whole where that is None.

    ``code`` and ``name`` are NVML's (15, ``GPU_IS_LOST``). Only ``NO_GPUS`` is our own and has no
    code: the driver works and lists nothing.
    """

    index: int | None
    call: str
    code: int | None
    name: str

    def __str__(self) -> str:
        code = "" if self.code is None else f" (NVML error {self.code})"
        return f"{self.call} says {self.name}{code}"

    @property
    def subject(self) -> str:
        """What could not be read."""
        return "GPUs" if self.index is None else f"GPU {self.index}"

    @property
    def remedy(self) -> str:
        """What a person can do about it, or nothing where nobody knows."""
        return _REMEDIES.get(self.name, "")
