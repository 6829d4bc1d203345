"""NVML process: a program of its own, and the only package that imports pynvml.

NVML can hang inside the kernel or crash, so it never runs in the daemon: :mod:`..process` starts this
package as a program. It imports the standard library and pynvml alone, so it stays small and quick to start.

A request is one JSON object a line; its response is one line with the same ``id``:

- ``{"id": 7, "call": "read", "fast": false}`` gives ``{"id": 7, "driver_version": ..., "gpus": [...],
  "faults": [...], "xids": [...]}``, where the GPUs have the fields of ``GpuReading`` in base units, the
  faults those of ``GpuFault`` and the xids those of ``XidEvent``; or ``{"id": 7, "error": FAULT, "xids":
  [...]}`` where no GPU could be read. A fast reading makes at most four calls a GPU and repeats the rest.
- ``{"id": 8, "call": "apply", "command": "SetPowerLimit", "uuid": ..., "watts": ...}`` gives
  ``{"id": 8, "fault": null}`` or the fault.

After an error the daemon starts a fresh process, because only that loads a new driver's library. The program
ends when its input does.
"""
