"""The daemon beside nvitop-exporter, interleaved, on one fake driver with 8 GPUs (after `make peers`).

Each round runs one, then the other: CPU share at a 1 s period, memory, scrape time. Then what each serves
after the driver hangs, a GPU is lost, and the library vanishes: nothing, the truth, or an old value.
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.harness import cpu_seconds, daemon, percentile, processes, pss_bytes, report
from bench.workload import NVML, fake_nvml
from tests.fakes.nvml import FakeNvml
from tests.ports import free_port

PEER = Path(sys.executable).parents[1] / "peers/bin/nvitop-exporter"
ROUNDS = 3
SECONDS = 15.0
SCRAPES = 200
STALE_AFTER = 3.0
OURS = re.compile(r'^aiidpd_gpu_temperature_celsius\{gpu="0",[^}]*\} (\S+)$', re.MULTILINE)
THEIRS = re.compile(r'^gpu_temperature_C\{[^}]*index="0"[^}]*\} (\S+)$', re.MULTILINE)


@dataclass
class Cost:
    """The figures of one of the two, a value a round (CPU in % of a core, memory in MiB, scrapes in ms)."""

    cpu: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
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


def measure(pid: int, address: str, cost: Cost) -> None:
    """Add one round to ``cost``."""
    deadline = time.monotonic() + 30
    while "temperature" not in page(address):
        if time.monotonic() > deadline:
            raise SystemExit(f"{address} serves no temperature")
        time.sleep(0.2)
    time.sleep(2)
    pids = processes(pid)
    before, began = cpu_seconds(pids), time.monotonic()
    time.sleep(SECONDS)
    cost.cpu.append(100 * (cpu_seconds(pids) - before) / (time.monotonic() - began))
    cost.memory.append(sum(map(pss_bytes, pids)) / (1 << 20))
    for _ in range(SCRAPES):
        started = time.monotonic()
        text = page(address)
        cost.scrapes.append((time.monotonic() - started) * 1000)
    cost.series = sum(line[:1] not in ("#", "") and "gpu" in line for line in text.splitlines())


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
    costs = {"aiidpd": Cost(), "nvitop-exporter": Cost()}
    with tempfile.TemporaryDirectory() as folder:
        fake = fake_nvml(Path(folder))
        for _ in range(ROUNDS):
            for run, cost in ((ours, costs["aiidpd"]), (theirs, costs["nvitop-exporter"])):
                with run(fake.env) as (pid, address):
                    measure(pid, address, cost)
    for name, fault in FAULTS.items():
        told = {"aiidpd": served_in(fault, ours, OURS), "nvitop-exporter": served_in(fault, theirs, THEIRS)}
        print(f"{name:<10}" + "  ".join(f"{who}: {what}" for who, what in told.items()))
    we, they = costs.values()
    print(f"gpu series: aiidpd {we.series}, nvitop-exporter {they.series}")
    figures = {
        "cpu_share_percent": (statistics.median(we.cpu), statistics.median(they.cpu)),
        "memory_mib": (statistics.median(we.memory), statistics.median(they.memory)),
        "scrape_p50_ms": (percentile(we.scrapes, 0.5), percentile(they.scrapes, 0.5)),
        "scrape_p99_ms": (percentile(we.scrapes, 0.99), percentile(they.scrapes, 0.99)),
    }
    report("nvitop", "", figures)


if __name__ == "__main__":
    main()
