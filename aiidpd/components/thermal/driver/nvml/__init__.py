"""The child process that talks to NVML: the one room that imports pynvml, and a program of its own.

NVML can hang inside the kernel or crash, so it never runs in the daemon. :mod:`..child` starts this
folder as a program. It imports the standard library and pynvml alone, so it stays small and quick to start.

It reads one JSON object a line and answers each with one line, by the same ``id``:

- ``{"id": 7, "call": "read", "fast": false}`` gives ``{"id": 7, "driver_version": ..., "gpus": [...],
  "faults": [...], "xids": [...]}``, where the GPUs have the fields of ``GpuReading`` in base units, the
  faults those of ``GpuFault`` and the xids those of ``XidEvent``; or ``{"id": 7, "error": FAULT, "xids":
  [...]}`` where no GPU could be read. A fast reading asks each GPU at most four things and repeats the rest.
- ``{"id": 8, "call": "apply", "command": "SetPowerLimit", "uuid": ..., "watts": ...}`` gives
  ``{"id": 8, "fault": null}`` or the fault.

Whoever gets an error starts a fresh child, because only that loads a new driver's library. The program
ends when its input does.
"""
