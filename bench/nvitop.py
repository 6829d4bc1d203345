"""The daemon beside nvitop-exporter, both at once on one fake driver with 8 GPUs (after `make peers`).

CPU share at a 1 s period in the same minute, memory, and scrapes by turns, so that whatever else the machine
does falls on both. Then what each serves after the driver hangs, a GPU is lost, and the library vanishes:
nothing, the truth, or an old value.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import cpu_seconds, daemon, percentile, processes, pss_bytes, report
from bench.workload import NVML, fake_nvml
from tests.fakes.nvml import FakeNvml
from tests.ports import free_port

PEER = Path(sys.executable).parents[1] / "peers/bin/nvitop-exporter"
SECONDS = 60.0
SCRAPES = 1000
CPU_LIMIT = 0.9  # of its share
P99_LIMIT = 0.8
STALE_AFTER = 3.0
OURS = re.compile(r'^aiidpd_gpu_temperature_celsius\{gpu="0",[^}]*\} (\S+)$', re.MULTILINE)
THEIRS = re.compile(r'^gpu_temperature_C\{[^}]*index="0"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass
class Cost:
    """The figures of one of the two: CPU in % of a core, memory in MiB, each scrape in ms."""

    cpu: float = 0.0
    memory: float = 0.0
    scrapes: list[float] = field(default_factory=list)
    series: int = 0


@contextmanager
def ours(environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Run the daemon with nothing to watch but the GPUs; yield its pid and its address."""
    port = free_port()
    config = NVML.replace("simulated_containers = 50", "simulated_containers = 0")
    with daemon(config.replace('listen = ""', f'listen = "127.0.0.1:{port}"'), environment) as subject:
        yield subject.pid, f"http://127.0.0.1:{port}/metrics"


@contextmanager
def theirs(environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Run nvitop-exporter at the same period; yield its pid and its address."""
    port = free_port()
    process = subprocess.Popen(
        [PEER, "--port", str(port), "--interval", "1"],
        env={**environment, "PATH": "/usr/bin:/bin"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid, f"http://127.0.0.1:{port}/metrics"
    finally:
        process.kill()
        process.wait()


def page(address: str) -> str:
    """Return what is served, empty where nothing is."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def wait_for_temperature(address: str) -> None:
    """Wait until ``address`` serves a temperature."""
    deadline = time.monotonic() + 30
    while "temperature" not in page(address):
        if time.monotonic() > deadline:
            raise SystemExit(f"{address} serves no temperature")
        time.sleep(0.2)


def measure(running: Sequence[tuple[int, str]]) -> list[Cost]:
    """Return what each of ``running``, a pid and an address, costs."""
    costs = [Cost() for _ in running]
    for _, address in running:
        wait_for_temperature(address)
    time.sleep(3)
    pids = [processes(pid) for pid, _ in running]
    before, began = [cpu_seconds(each) for each in pids], time.monotonic()
    time.sleep(SECONDS)
    for cost, each, spent in zip(costs, pids, before, strict=True):
        cost.cpu = 100 * (cpu_seconds(each) - spent) / (time.monotonic() - began)
        cost.memory = sum(map(pss_bytes, each)) / (1 << 20)
    for _ in range(SCRAPES):
        for cost, (_, address) in zip(costs, running, strict=True):
            started = time.monotonic()
            text = page(address)
            cost.scrapes.append((time.monotonic() - started) * 1000)
            cost.series = sum(line[:1] not in ("#", "") and "gpu" in line for line in text.splitlines())
    return costs


# Whatever either of the two reads in a sample.
CALLS = (
    "nvmlDeviceGetTemperature",
    "nvmlDeviceGetTemperatureV",
    "nvmlDeviceGetFieldValues",
    "nvmlDeviceGetPowerUsage",
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetMemoryInfo",
    "nvmlDeviceGetMemoryInfo_v2",
)
GPU_IS_LOST = 15
LIBRARY_MISMATCH = 18


def hang(fake: FakeNvml) -> None:
    """The next driver call never returns."""
    fake.set({"0.temperature": 95} | dict.fromkeys(CALLS, "hang"))


def lose(fake: FakeNvml) -> None:
    """GPU 0 falls off the bus."""
    fake.set({"0.temperature": 95} | {f"0.{call}": GPU_IS_LOST for call in CALLS})


def vanish(fake: FakeNvml) -> None:
    """The library is gone, as while a driver is replaced, and the loaded one refuses to work."""
    Path(fake.env["LD_LIBRARY_PATH"], "libnvidia-ml.so.1").unlink()
    fake.set({"0.temperature": 95} | dict.fromkeys(CALLS, LIBRARY_MISMATCH))


FAULTS: dict[str, Callable[[FakeNvml], None]] = {"hang": hang, "lost": lose, "vanished": vanish}


def served_in(fault: Callable[[FakeNvml], None], run: Callable[..., object], pattern: re.Pattern[str]) -> str:
    """Return what is served for GPU 0, which was at 61 °C and is at 95 °C, a while after ``fault``."""
    with tempfile.TemporaryDirectory() as folder:
        fake = fake_nvml(Path(folder))
        with run(fake.env) as (_, address):  # type: ignore[attr-defined]
            time.sleep(4)
            fault(fake)
            time.sleep(STALE_AFTER + 1)
            text = page(address)
    if not text:
        return "no answer"
    found = pattern.search(text)
    return f"{found[1]} C" if found else "no value"


def main() -> None:
    """Print the costs with their ratios, then the faults."""
    if not PEER.exists():
        raise SystemExit(f"cannot measure beside nvitop-exporter: {PEER} is not there; run: make peers")
    with tempfile.TemporaryDirectory() as folder:
        fake = fake_nvml(Path(folder))
        with ours(fake.env) as we_run, theirs(fake.env) as they_run:
            we, they = measure([we_run, they_run])
    for name, fault in FAULTS.items():
        told = {"aiidpd": served_in(fault, ours, OURS), "nvitop-exporter": served_in(fault, theirs, THEIRS)}
        print(f"{name:<10}" + "  ".join(f"{who}: {what}" for who, what in told.items()))
    print(f"gpu series: aiidpd {we.series}, nvitop-exporter {they.series}")
    p50, p99 = ((percentile(we.scrapes, at), percentile(they.scrapes, at)) for at in (0.5, 0.99))
    for what, (our, their) in {
        "cpu %": (we.cpu, they.cpu),
        "memory MiB": (we.memory, they.memory),
        "scrape p50 ms": p50,
        "scrape p99 ms": p99,
    }.items():
        print(f"{what:<14} aiidpd {our:8.3f}  nvitop-exporter {their:8.3f}")
    figures = {
        "cpu_ratio": (we.cpu / they.cpu, CPU_LIMIT),
        "memory_ratio": (we.memory / they.memory, None),
        "scrape_p50_ratio": (p50[0] / p50[1], None),
        "scrape_p99_ratio": (p99[0] / p99[1], P99_LIMIT),
    }
    report("nvitop", "", figures)


if __name__ == "__main__":
    main()
