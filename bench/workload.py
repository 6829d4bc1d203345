"""The load that the costs are stated for: 8 GPUs sampled each second, 50 containers."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.nvml import FakeNvml, build, gpu

GPUS = 8

SIMULATED = f"""
[gpu]
library = "simulated"
simulated_gpus = {GPUS}
[containers]
engine = "simulated"
simulated_containers = 50
[telemetry]
listen = ""
"""

NVML = SIMULATED.replace('library = "simulated"', 'library = "nvml"')


def fake_nvml(folder: Path) -> FakeNvml:
    """Return a fake driver library with the GPUs of the load: the calls are real, the cards are not."""
    library = build(folder)
    if library is None:
        raise SystemExit("cannot build the fake driver: gcc is not here; apt-get install gcc libc6-dev")
    fake = FakeNvml(folder, folder)
    fake.install(*(gpu(index) for index in range(GPUS)))
    return fake
