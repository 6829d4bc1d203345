"""Layers on a GPU and the rest on the CPU: a token passes one part after the other (pure)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Part:
    """Weights that one device reads for each token, and the bandwidth that it reads them with."""

    read_bytes: float
    bandwidth: float

    @property
    def seconds(self) -> float:
        """Return the least seconds that this part of a step takes."""
        return self.read_bytes / self.bandwidth


@dataclass(frozen=True, slots=True)
class Split:
    """A model in two parts: a step takes the sum of their times."""

    gpu: Part
    cpu: Part

    @property
    def seconds(self) -> float:
        """Return the least seconds of a step."""
        return self.gpu.seconds + self.cpu.seconds

    @property
    def ceiling(self) -> float:
        """Return the tokens a second that one request can't pass."""
        return 1 / self.seconds


def by_layers(read: float, layers: int, on_gpu: int, gpu_bandwidth: float, cpu_bandwidth: float) -> Split:
    """Return the split of ``read`` bytes over ``layers`` of equal size, ``on_gpu`` of them on the GPU."""
    if layers < 1 or not 0 <= on_gpu <= layers:
        raise ValueError("a GPU can't hold more layers than there are")
    share = on_gpu / layers
    return Split(Part(read * share, gpu_bandwidth), Part(read * (1 - share), cpu_bandwidth))


def by_bytes(read: float, on_gpu: float, gpu_bandwidth: float, cpu_bandwidth: float) -> Split:
    """Return the split of ``read`` bytes, as many of them on the GPU as fit into ``on_gpu``."""
    held = min(max(0.0, on_gpu), read)
    return Split(Part(held, gpu_bandwidth), Part(read - held, cpu_bandwidth))


def channels_bandwidth(transfers_per_second: float, channels: int, width_bytes: int = 8) -> float:
    """Return the peak of a memory: DDR5-6400 on two channels of 8 bytes is 102.4 GB/s."""
    return transfers_per_second * channels * width_bytes
