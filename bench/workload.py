"""The load that the costs are stated for: 8 GPUs sampled each second, 50 containers."""

from __future__ import annotations

SIMULATED = """
[gpu]
library = "simulated"
simulated_gpus = 8
[containers]
engine = "simulated"
simulated_containers = 50
[telemetry]
listen = ""
"""

NVML = SIMULATED.replace('library = "simulated"', 'library = "nvml"')
