"""One container with everything that is known of it: what the API gives, and what a person sees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anyio
import pytest

from aiidpd.api.document import to_json
from aiidpd.api.route import Call
from aiidpd.cli.text import Paint
from aiidpd.components.containers.cli_detail import container_lines
from aiidpd.components.containers.detail import DetailSources, detail_routes, find
from aiidpd.components.containers.logs.failures import FAILURES, LastFailure, NamedFailure
from aiidpd.components.containers.logs.named import NamedFailures
from aiidpd.components.containers.pause.state import PauseView
from aiidpd.components.containers.runtime import ContainerReading, RuntimeSnapshot
from aiidpd.contracts.containers import CONTAINER_USE, ContainerUse, ContainerUses
from aiidpd.contracts.engines import ENGINES, EngineState, EnginesView, Verdict
from aiidpd.contracts.gpus import GPUS, GpuMemoryUse, GpusView, GpuUse
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Condition, Conditions
from aiidpd.kernel.errors import NotFound, Unavailable
from aiidpd.kernel.events import Event, Severity
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.reading import Reading
from aiidpd.kernel.task import WorkerStatus
from aiidpd.kernel.views import Views
from tests.documents import as_dict
from tests.fakes.clock import FakeClock

VLLM = ContainerReading(
    "abcdef" + "a" * 58, "vllm", "vllm/vllm-openai:v1", "running", health="unhealthy", gpu=True,
    started_at=1_799_990_000.0, restart_policy="unless-stopped", project="llm", service="vllm",
    labels={"aiidpd.heal": "restart", "com.docker.compose.project": "llm"}, restart_count=2,
    environment={"HF_TOKEN": "s3cr3tvalue"},
)  # fmt: skip
ENDED = ContainerReading(
    "b" * 64, "old", "img", "exited", exit_code=137, oom_killed=True, finished_at=1_799_999_000.0
)


class House:
    """Sources that a test fills."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.latest: Latest[RuntimeSnapshot] = Latest(clock, 1e9)
        self.latest.put(RuntimeSnapshot((VLLM, ENDED), "1"))
        self.described: Mapping[str, Any] | None = None
        self.refuses: Unavailable | None = None
        self.hangs = False
        self.pauses: list[PauseView] = []
        self.past: list[Event] = []
        self.past_refuses = False
        self.heal: Mapping[str, Any] | None = None
        self.failures = NamedFailures()
        self.conditions = Conditions(clock, EventBus())
        self.views = Views()
        sources = DetailSources(
            latest=self.latest,
            status=lambda: WorkerStatus("containers"),
            pauses=lambda: self.pauses,
            describe=self.describe,
            failures=self.failures,
            unreadable={ENDED.id: "its driver does not give it"}.get,
            conditions=self.conditions,
            views=self.views,
            history=self,  # type: ignore[arg-type]
            heal=lambda _: self.heal,
        )
        (self.route,) = detail_routes(sources)

    async def describe(self, _identity: str) -> Mapping[str, Any] | None:
        if self.hangs:
            await anyio.sleep_forever()
        if self.refuses is not None:
            raise self.refuses
        return self.described

    async def events(self, *, limit: int, kinds: str = "", subject: str | None = None) -> list[Event]:
        if self.past_refuses:
            raise Unavailable("read history", "it", reason="the disk is full")
        return [each for each in self.past if each.subject == subject and each.kind.startswith(kinds)][
            -limit:
        ]

    async def show(self, name: str = "vllm") -> dict[str, Any]:
        answer = await self.route.handler(Call({"name": name}, None, None))
        to_json(answer)  # type: ignore[arg-type]
        return as_dict(answer)

    def fill(self) -> None:
        now = self.clock.time()
        self.described = {
            "State": {"Health": {"Log": [{"End": "x", "ExitCode": 1, "Output": "curl: (7) s3cr3tvalue"}]}}
        }
        engine = EngineState(
            "chat", "qwen", simulated=False, engine="vllm", container=VLLM.id, verdict=Verdict.HUNG,
            verdict_since=now - 90, verdict_reason="no step for 90 s", requests_running=3, requests_waiting=1,
        )  # fmt: skip
        use = ContainerUse(
            VLLM.id, 1.0, pids=frozenset({1, 2}), blocked=frozenset({2}), memory_bytes=3 << 30, oom_kills=1
        )
        gpu = GpuUse(0, "GPU-0", "RTX 5090", processes=(GpuMemoryUse(1, VLLM.id, 28e9),))
        self.views.offer(ENGINES, lambda: Reading(EnginesView((engine,)), 1.0, 1.0))
        self.views.offer(CONTAINER_USE, lambda: Reading(ContainerUses({VLLM.id: use}), 1.0, 1.0))
        self.views.offer(GPUS, lambda: Reading(GpusView((gpu,)), 1.0, 1.0))
        self.failures.put(LastFailure(VLLM.id, now - 300, NamedFailure(FAILURES[3]), "CUDA out of memory", 1))
        self.conditions.set(
            Condition(
                "container_unhealthy", "vllm", Severity.ERROR, "its health check fails", "docker logs vllm"
            )
        )
        self.conditions.set(Condition("engine_hung", "chat", Severity.ERROR, "no step", ""))
        self.conditions.set(Condition("container_unhealthy", "other", Severity.ERROR, "not ours", ""))
        self.past = [
            Event(
                now - 400, "containers", "container.died", "it ended with code 1", "vllm", Severity.WARNING
            ),
            Event(now - 390, "containers", "container.started", "it started", "vllm"),
            Event(now - 10, "containers", "container.unhealthy", "its health check fails", "vllm"),
            Event(now - 10, "containers", "container.started", "it started", "other"),
        ]
        self.heal = {"policy": "restart", "state": "watching"}


@pytest.fixture
def house(clock: FakeClock) -> House:
    return House(clock)


async def test_everything_that_is_known_is_shown(house: House) -> None:
    house.fill()
    found = await house.show()
    assert found["container"]["name"] == "vllm"
    assert found["labels"] == {"aiidpd.heal": "restart"}
    assert found["health_checks"][0]["output"] == "curl: (7) [redacted]"
    assert found["engine"]["verdict"] == "hung"
    assert found["use"]["processes"] == 2
    assert found["gpus"] == [
        {"index": 0, "name": "RTX 5090", "uuid": "GPU-0", "processes": 1, "memory_bytes": 28e9}
    ]
    assert found["failure"]["name"] == "gpu_memory"
    assert sorted(each["type"] for each in found["conditions"]) == ["container_unhealthy", "engine_hung"]
    assert [each["kind"] for each in found["deaths"]] == ["container.died"]
    assert len(found["events"]) == 3
    assert found["heal"] == {"policy": "restart", "state": "watching"}
    assert "s3cr3tvalue" not in str(found)


async def test_a_person_sees_it_in_24_lines_of_80_columns(house: House, clock: FakeClock) -> None:
    house.fill()
    lines = container_lines(await house.show(), clock.time(), Paint(width=80))
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 24
    text = "\n".join(lines)
    for words in (
        *("vllm  running for", "unhealthy", "policy unless-stopped, 2 restarts by it", "llm/vllm of compose"),
        *("hung for 1.5 min", "2 processes, 3.0 GiB memory, 1 in state D, 1 kill", "RTX 5090"),
        *("aiidpd.heal=restart", "policy restart, state watching", "exit code 1: curl", "Wrong now"),
        *("5 min ago, the GPU has too little free memory: CUDA out of memory", "Last events"),
        "it ended with code 1",
    ):
        assert words in text, words


async def test_an_end_that_no_event_shows_any_more_is_shown_before_them(
    house: House, clock: FakeClock
) -> None:
    died = Event(1.0, "containers", "container.died", "it ended with code 3", "vllm", id=1)
    house.past = [died, *(Event(2.0, "x", "y", "z", "vllm", id=2 + number) for number in range(20))]
    text = "\n".join(container_lines(await house.show(), clock.time(), Paint(width=80)))
    assert "Ends before" in text
    assert "it ended with code 3" in text


async def test_of_one_of_which_little_is_known_that_is_shown(house: House, clock: FakeClock) -> None:
    found = await house.show("old")
    assert (found["engine"], found["use"], found["gpus"], found["failure"], found["heal"]) == (None,) * 5
    (head, *rest) = container_lines(found, clock.time(), Paint(width=80))
    assert "log       can't be read: its driver does not give it" in rest
    assert head.startswith(
        "old  exited, ended with code 137, killed by signal 9; Docker says for lack of memory"
    )


async def test_by_the_beginning_of_its_id_and_not_by_too_little_of_it(house: House) -> None:
    assert (await house.show("abcdef"))["container"]["name"] == "vllm"
    with pytest.raises(NotFound):
        find([VLLM], "abc")


async def test_names_that_are_near_are_offered(house: House) -> None:
    for wanted in ("vlm", "VLLM", "llm"):
        with pytest.raises(NotFound) as raised:
            await house.show(wanted)
        assert "did you mean vllm?" in raised.value.remedy or wanted == "VLLM"
    with pytest.raises(NotFound) as raised:
        await house.show("nothing like it")
    assert raised.value.remedy == "aiidpctl containers list"


async def test_what_does_not_answer_says_so_and_the_rest_is_shown(
    house: House, monkeypatch: pytest.MonkeyPatch, clock: FakeClock
) -> None:
    house.fill()
    house.refuses = Unavailable("describe", "it", reason="nothing listens")
    house.past_refuses = True
    found = await house.show()
    assert "nothing listens" in found["health_reason"]
    assert "the disk is full" in found["events_reason"]
    text = "\n".join(container_lines(found, clock.time(), Paint(width=80)))
    assert "nothing listens" in text
    assert "the disk is full" in text
    monkeypatch.setattr("aiidpd.components.containers.detail._DESCRIBING", 0.05)
    house.hangs = True
    assert "did not answer" in (await house.show())["health_reason"]


async def test_without_a_current_reading_there_is_a_reason(house: House, clock: FakeClock) -> None:
    house.latest.clear()
    found = await house.show()
    assert found["read_at"] is None
    assert found["reason"]
    assert container_lines(found, clock.time(), Paint()) == []


async def test_a_pause_by_us_and_a_simulated_engine(house: House, clock: FakeClock) -> None:
    house.pauses = [PauseView(VLLM.id, "vllm", "GPU 0", "GPU 0 is hot", 1.0, 2.0)]
    house.latest.put(RuntimeSnapshot((VLLM,), "1", simulated=True))
    house.hangs = True  # it is not even asked
    found = await house.show()
    assert found["simulated"]
    assert "paused by aiidpd: GPU 0 is hot" in container_lines(found, clock.time(), Paint())[0]


async def test_nothing_in_it_steers_a_terminal(house: House, clock: FakeClock) -> None:
    hostile = "\x1b[2J\n\u202e" + "x" * 60_000
    one = ContainerReading(
        "c" * 64, "evil", hostile, "created", error=hostile, labels={f"aiidpd.{hostile}": hostile},
        project=hostile, service=hostile,
    )  # fmt: skip
    house.latest.put(RuntimeSnapshot((one,), "1"))
    house.conditions.set(Condition("container_unhealthy", "evil", Severity.ERROR, hostile, hostile))
    house.past = [Event(1.0, "containers", "container.died", hostile, "evil")]
    house.described = {"State": {"Health": {"Log": [{"End": hostile, "ExitCode": 1, "Output": hostile}]}}}
    lines = container_lines(await house.show("evil"), clock.time(), Paint(width=80))
    assert all(line.isprintable() and len(line) <= 80 for line in lines)
