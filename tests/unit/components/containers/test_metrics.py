from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from aiidpd.components.containers.memory import ContainersMemory
from aiidpd.components.containers.metrics import ContainersCollector
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.kernel.latest import Latest
from tests.fakes.clock import FakeClock

RUNNING = ContainerReading(
    "c1", "vllm", "vllm:1", "running", health="healthy", restart_count=2, started_at=1_800_000_000.5, gpu=True
)
ENDED = ContainerReading("c2", "llama", "llama:1", "exited", exit_code=137, oom_killed=True, finished_at=1.0)


def scraped(latest: Latest[RuntimeSnapshot], memory: ContainersMemory | None = None) -> list[str]:
    registry = CollectorRegistry()
    registry.register(ContainersCollector(latest, memory or ContainersMemory()))
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if not line.startswith("#")]


def test_what_is_known_is_shown_and_nothing_else(clock: FakeClock) -> None:
    latest: Latest[RuntimeSnapshot] = Latest(clock, 90.0)
    latest.put(RuntimeSnapshot((RUNNING, ENDED), "20.10"))
    memory = ContainersMemory(interruptions=3)
    memory.ends["vllm", "kernel"] = 2
    assert scraped(latest, memory) == [
        'aiidpd_container_engine_info{version="20.10"} 1.0',
        'aiidpd_container_info{container="vllm",gpu="true",image="vllm:1",project="",service=""} 1.0',
        'aiidpd_container_info{container="llama",gpu="false",image="llama:1",project="",service=""} 1.0',
        'aiidpd_container_state{container="vllm",state="running"} 1.0',
        'aiidpd_container_state{container="llama",state="exited"} 1.0',
        'aiidpd_container_phase{container="vllm",phase="healthy"} 1.0',
        'aiidpd_container_phase{container="llama",phase="exited"} 1.0',
        'aiidpd_container_deaths_total{by="kernel",container="vllm"} 2.0',
        "aiidpd_container_stream_interruptions_total 3.0",
        'aiidpd_container_health{container="vllm",health="healthy"} 1.0',
        'aiidpd_container_restarts_total{container="vllm"} 2.0',
        'aiidpd_container_restarts_total{container="llama"} 0.0',
        'aiidpd_container_start_time_seconds{container="vllm"} 1.8000000005e+09',
        'aiidpd_container_exit_code{container="llama"} 137.0',
        'aiidpd_container_oom_claimed{container="vllm"} 0.0',
        'aiidpd_container_oom_claimed{container="llama"} 1.0',
    ]


async def test_no_current_reading_is_no_series(clock: FakeClock) -> None:
    latest: Latest[RuntimeSnapshot] = Latest(clock, 90.0)
    assert scraped(latest) == []
    latest.put(RuntimeSnapshot((RUNNING,), "20.10"))
    await clock.advance(91)
    assert scraped(latest) == []
