"""The bench worker's loop, on a clock that only the test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import anyio
import pytest

from aiidpd.components.bench.circumstances.recording import Found, Recording
from aiidpd.components.bench.schedule import max_age, worker_deadline
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.view import BenchView
from aiidpd.components.bench.worker import BenchWorker
from aiidpd.contracts.engines import EngineReads, EngineState, EnginesView, Residency
from aiidpd.engines.faults import Fault, ProbeFailed
from aiidpd.engines.simulated import SimulatedTarget
from aiidpd.engines.target import Chunk, ProbeRequest, Target, Timeline
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.errors import Misconfigured, Unavailable
from aiidpd.kernel.events import Event, Sample, Severity
from aiidpd.kernel.jobs import JobBook, JobQueue, JobState
from aiidpd.kernel.latest import Latest
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerState, WorkerStatus
from tests.fakes.clock import FakeClock, settle
from tests.tables import made

SETTINGS = made(BenchSettings, interval=100.0, timeout=60.0, gpu_time_ratio=1.0)


@dataclass
class StubTarget:
    """An endpoint whose next answers the test decides: ``fails`` is why it does, ``takes`` is in seconds."""

    clock: FakeClock
    name: str
    fails: str = ""
    takes: float = 1.0
    cached: int = 0
    breaks: bool = False
    fault: Fault | None = None
    rate: float = 0.0  # tokens a second, as many as were requested; 0: ten in the whole time
    url: str = "http://127.0.0.1:1"
    model: str = "m"
    simulated: bool = False
    asked: list[tuple[float, ProbeRequest]] = field(default_factory=list)
    busy: Callable[[int], None] = lambda _: None
    closed: int = 0
    running: bool = False

    async def probe(self, request: ProbeRequest) -> Timeline:
        self.asked.append((self.clock.monotonic(), request))
        self.busy(1)
        self.running = True
        started = self.clock.monotonic()
        try:
            await self.clock.sleep(self.takes)
        finally:
            self.running = False
            self.busy(-1)
        if self.breaks:
            raise ZeroDivisionError
        if self.fails and self.fault is not None:
            raise ProbeFailed(self.name, self.fault, reason=self.fails, remedy="see")
        if self.fails:
            raise Unavailable("measure", self.name, reason=self.fails)
        if self.rate:
            return self._fast(started, request.max_tokens)
        at = [started + self.takes * (0.1 + 0.9 * index / 9) for index in range(10)]
        chunks = tuple(Chunk(each, 4) for each in at)
        return Timeline(started, at[-1], chunks, "length", 100, 10, self.cached)

    def _fast(self, started: float, tokens: int) -> Timeline:
        chunks = tuple(Chunk(started + 0.05 + at / self.rate, 1) for at in range(tokens))
        return Timeline(started, chunks[-1].at, chunks, "length", 100, tokens, 0)

    async def aclose(self) -> None:
        self.closed += 1


class Room:
    """A worker with everything around it."""

    def __init__(
        self, clock: FakeClock, targets: Sequence[Target], settings: BenchSettings = SETTINGS
    ) -> None:
        self.clock = clock
        self.targets = targets
        self.engines: Callable[[], EnginesView | None] | None = None
        self.reads: EngineReads | None = None
        self.recording: Callable[[Target], Recording] | None = None
        self.settings = settings
        self.events: list[Event] = []
        self.samples: list[Sample] = []
        self.bus = EventBus()
        self.bus.attach(events=self.events.append, samples=self.samples.append)
        self.latest: Latest[BenchView] = Latest(clock, max_age(settings))
        self.queue = JobQueue(JobBook(clock), "bench.run")
        self.status = WorkerStatus("bench")
        self.probing: set[str] = set()
        self.first_pass = anyio.Event()
        self.heartbeat = Heartbeat(clock, self.status, self.first_pass)

    def worker(self) -> BenchWorker:
        return BenchWorker(
            self.targets,
            self.settings,
            queue=self.queue,
            latest=self.latest,
            publish=Publisher(self.bus, self.clock, "bench"),
            clock=self.clock,
            running=self.probing,
            engines=self.engines,
            reads=lambda: self.reads,
            recording=self.recording,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with anyio.create_task_group() as group:
            group.start_soon(self.worker().run, self.heartbeat)
            await settle()
            yield
            group.cancel_scope.cancel()

    @property
    def view(self) -> BenchView:
        reading = self.latest.get()
        assert reading is not None
        return reading.value

    def kinds(self) -> list[tuple[str, str]]:
        return [(event.kind, event.subject) for event in self.events]


async def test_without_endpoints_it_is_up_and_says_so(clock: FakeClock):
    room = Room(clock, [])
    assert not room.worker().simulated
    async with room.running():
        assert room.status.state is WorkerState.RUNNING
        assert "bench.endpoints" in room.view.note
        job = room.queue.submit()
        await settle()
        assert job.status.state is JobState.FAILED
        assert "no endpoint is configured" in job.status.error
        await clock.advance(3600)
        assert clock.monotonic() - room.heartbeat.last < worker_deadline(SETTINGS)
        assert room.status.state is WorkerState.RUNNING


async def test_it_is_ready_before_the_first_probe_has_ended(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a", takes=50)])
    async with room.running():
        assert room.first_pass.is_set()
        assert room.status.state is WorkerState.RUNNING
        assert room.view.endpoints[0].sample is None


async def test_while_an_endpoint_is_probed_it_is_told_to_be_and_not_afterwards(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a", takes=10), StubTarget(clock, "b", fails="refused", takes=5)])
    async with room.running():
        assert ("a" in room.probing, "b" in room.probing) == (True, False)
        await clock.advance(11.0)
        assert ("a" in room.probing, "b" in room.probing) == (False, True)
        await clock.advance(10.0)
        assert ("a" in room.probing, "b" in room.probing) == (False, False)


async def test_a_probe_becomes_a_sample_an_event_and_a_view(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a", takes=1.0)])
    async with room.running():
        await clock.advance(1.0)
    (endpoint,) = room.view.endpoints
    assert endpoint.current is not None
    assert endpoint.current.ttft_seconds == pytest.approx(0.1)
    assert endpoint.measured_at == clock.time()
    (told,) = room.events
    assert (told.source, told.kind, told.subject, told.severity) == (
        "bench",
        "bench.measured",
        "a",
        Severity.INFO,
    )
    assert "first token after 100 ms; then 100 ms a token (10 tokens/s)" in told.reason
    assert told.evidence["ttft_seconds"] == pytest.approx(0.1)
    assert told.evidence["output_tokens"] == 10
    assert not told.simulated
    figures = {sample.series: sample.value for sample in room.samples}
    assert figures["output_tokens_per_second"] == pytest.approx(10)
    assert set(figures) == {
        "ttft_seconds",
        "time_per_output_token_seconds",
        "output_tokens_per_second",
        "total_seconds",
    }
    assert {sample.subject for sample in room.samples} == {"a"}


async def test_each_endpoint_has_its_turn_and_never_two_at_once(clock: FakeClock):
    busy = [0]
    most = [0]

    def count(change: int) -> None:
        busy[0] += change
        most[0] = max(most[0], busy[0])

    targets = [StubTarget(clock, name, takes=30, busy=count) for name in "abc"]
    room = Room(clock, targets)
    async with room.running():
        job = room.queue.submit()
        await clock.advance(400)
    assert job.status.state is JobState.SUCCEEDED
    assert most[0] == 1
    assert all(len(target.asked) >= 4 for target in targets)


async def test_no_two_prompts_begin_alike(clock: FakeClock):
    target = StubTarget(clock, "a")
    async with Room(clock, [target]).running():
        await clock.advance(350)
    assert len({request.prompt[:8] for _, request in target.asked}) == len(target.asked) == 4


async def test_one_that_fails_stops_neither_the_others_nor_the_worker(clock: FakeClock):
    good, bad = StubTarget(clock, "good"), StubTarget(clock, "bad", fails="connection refused")
    room = Room(clock, [bad, good])
    async with room.running():
        await clock.advance(150)
        assert room.status.state is WorkerState.RUNNING
    assert [round(at) for at, _ in bad.asked] == [0, 100]
    assert [round(at) for at, _ in good.asked] == [1, 101]
    assert room.kinds() == [("bench.failed", "bad"), ("bench.measured", "good")] * 2
    assert room.events[0].severity is Severity.WARNING
    assert "connection refused" in room.events[0].reason
    view = room.view.endpoint("bad")
    assert view is not None
    assert (view.probes, view.failures, view.sample) == (2, 2, None)
    assert "connection refused" in view.error


async def test_when_all_fail_it_is_degraded_and_lists_why_until_one_recovers(clock: FakeClock):
    one, other = (
        StubTarget(clock, "one", fails="refused"),
        StubTarget(clock, "other", fails="no token within 30 s"),
    )
    room = Room(clock, [one, other])
    async with room.running():
        await clock.advance(1.5)
        assert room.status.state is WorkerState.RUNNING  # the other has not been asked yet
        await clock.advance(10)
        assert room.status.state is WorkerState.DEGRADED
        assert "cannot measure one: refused" in room.status.reason
        assert "cannot measure other: no token within 30 s" in room.status.reason
        await clock.advance(60)
        assert room.status.state is WorkerState.DEGRADED  # waiting is no success
        one.fails = ""
        await clock.advance(100)
        assert room.status.state is WorkerState.RUNNING


async def test_a_failure_keeps_the_last_sample_for_people_but_it_is_not_current(clock: FakeClock):
    target = StubTarget(clock, "a")
    room = Room(clock, [target])
    async with room.running():
        await clock.advance(50)
        target.fails = "refused"
        await clock.advance(100)
    (endpoint,) = room.view.endpoints
    assert endpoint.sample is not None
    assert endpoint.current is None
    assert endpoint.measured_at is not None
    assert endpoint.failed_at is not None
    assert endpoint.failed_at > endpoint.measured_at


async def test_a_job_probes_one_endpoint_and_gives_its_figures(clock: FakeClock):
    targets = [StubTarget(clock, "a"), StubTarget(clock, "b")]
    room = Room(clock, targets)
    async with room.running():
        await clock.advance(10)
        job = room.queue.submit(endpoint="b")
        await settle()
        assert job.status.state is JobState.RUNNING
        assert job.status.message == "probing b"
        assert (job.status.done, job.status.total, job.status.unit) == (0, 1, "endpoints")
        await clock.advance(1)
        assert job.status.state is JobState.SUCCEEDED
        assert job.status.result["b.ttft_seconds"] == pytest.approx(0.1)
        assert job.status.result["b.simulated"] is False
        assert not any(key.startswith("a.") for key in job.status.result)
        assert [len(target.asked) for target in targets] == [1, 2]
        await clock.advance(95)
        assert [len(target.asked) for target in targets] == [2, 2]  # b's turn moved, a's did not


async def test_a_job_without_a_name_probes_all_and_fails_where_one_does(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a"), StubTarget(clock, "b", fails="refused")])
    async with room.running():
        job = room.queue.submit()
        await clock.advance(10)
    assert job.status.state is JobState.FAILED
    assert "1 of 2 endpoints failed: cannot measure b: refused" in job.status.error
    assert job.status.result["a.output_tokens_per_second"] == pytest.approx(10)
    assert "refused" in str(job.status.result["b.error"])


async def test_a_job_has_its_turn_also_where_probes_take_longer_than_their_interval(clock: FakeClock):
    room = Room(
        clock, [StubTarget(clock, "a", takes=2.0)], made(BenchSettings, interval=1.0, gpu_time_ratio=1.0)
    )
    async with room.running():
        await clock.advance(5.0)
        job = room.queue.submit()
        await clock.advance(5.0)
        assert job.status.state is JobState.SUCCEEDED


async def test_a_job_for_an_unknown_endpoint_names_the_known_ones(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a"), StubTarget(clock, "b")])
    async with room.running():
        await clock.advance(10)
        job = room.queue.submit(endpoint="c")
        await settle()
        assert job.status.state is JobState.FAILED
        assert "known are: a, b" in job.status.error
        assert room.status.state is WorkerState.RUNNING


async def test_a_job_that_the_worker_s_end_interrupts_is_failed(clock: FakeClock):
    target = StubTarget(clock, "a", takes=30)
    room = Room(clock, [target])
    async with room.running():
        await clock.advance(40)
        job = room.queue.submit()
        await settle()
        assert job.status.state is JobState.RUNNING
    assert job.status.state is JobState.FAILED
    assert "interrupted" in job.status.error
    assert target.closed == 1


async def test_a_bug_in_a_target_ends_the_run_for_the_supervisor_and_closes_the_targets(clock: FakeClock):
    target = StubTarget(clock, "a", breaks=True)
    room = Room(clock, [target])
    async with anyio.create_task_group() as group:
        group.start_soon(clock.advance, 5)
        with pytest.raises(ZeroDivisionError):
            await room.worker().run(room.heartbeat)
    assert target.closed == 1


async def test_a_new_worker_keeps_what_is_known_and_the_turn(clock: FakeClock):
    target = StubTarget(clock, "a")
    room = Room(clock, [target])
    async with room.running():
        await clock.advance(20)
    async with room.running():
        assert room.view.endpoints[0].sample is not None
        await clock.advance(70)
        assert len(target.asked) == 1
        await clock.advance(20)
        assert len(target.asked) == 2


async def test_a_new_worker_forgets_what_another_model_did(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a")])
    async with room.running():
        await clock.advance(20)
    room.targets = [StubTarget(clock, "a", model="other")]
    async with room.running():
        assert room.view.endpoints[0].sample is None
        await clock.advance(2)
        assert room.view.endpoints[0].sample is not None


async def test_a_new_worker_that_finds_all_failed_says_so_at_once(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, "a", fails="refused")])
    async with room.running():
        await clock.advance(20)
    async with room.running():
        assert room.status.state is WorkerState.DEGRADED


async def test_it_shows_life_during_the_longest_probe_and_the_longest_job(clock: FakeClock):
    room = Room(clock, [StubTarget(clock, name, takes=SETTINGS.timeout) for name in "abc"])
    async with room.running():
        room.queue.submit()
        for _ in range(500):
            await clock.advance(1)
            assert clock.monotonic() - room.heartbeat.last < worker_deadline(SETTINGS)


async def test_what_the_prefix_cache_answered_does_not_count_and_is_no_failure(clock: FakeClock):
    target = StubTarget(clock, "a")
    room = Room(clock, [target])
    async with room.running():
        await clock.advance(5)
        target.cached = 90
        await clock.advance(100)
    (endpoint,) = room.view.endpoints
    assert room.kinds()[:2] == [("bench.measured", "a"), ("bench.dropped", "a")]
    assert "prefix cache answered" in room.events[1].reason
    assert (room.events[1].severity, room.events[1].evidence["drop"]) == (Severity.INFO, "cached")
    assert "prefix cache answered" in endpoint.dropped
    assert (endpoint.drop, endpoint.failures, endpoint.error) == ("cached", 0, "")
    assert endpoint.current is not None
    assert endpoint.current.cached_tokens == 0


async def test_what_is_simulated_says_so_everywhere(clock: FakeClock):
    room = Room(clock, [SimulatedTarget(clock, seed=3)])
    assert room.worker().simulated
    async with room.running():
        await clock.advance(10)
    assert room.view.endpoints[0].simulated
    assert "SIMULATED" in room.view.endpoints[0].name
    assert room.events[0].simulated
    assert all(sample.simulated for sample in room.samples)


class Engines:
    """The view of one engine, that of the endpoint ``a``."""

    def __init__(self) -> None:
        self.state = EngineState("a", "m", simulated=False)

    def put(self, **values: Any) -> None:
        self.state = replace(self.state, read=1.0, **values)

    def __call__(self) -> EnginesView:
        return EnginesView((self.state,))


async def test_an_endpoint_whose_model_sleeps_is_left_out_which_is_no_failure_until_a_person_wants_it(
    clock: FakeClock,
):
    target, engines = StubTarget(clock, "a"), Engines()
    room = Room(clock, [target])
    room.engines = engines
    engines.put(residency=Residency.SLEEPING, may_sleep=True)
    async with room.running():
        await clock.advance(20_000.0)
        assert target.asked == []
        view = room.view.endpoints[0]
        assert (view.left_out, view.error, view.probes, view.failures) == ("its model is asleep", "", 0, 0)
        assert room.status.state is WorkerState.RUNNING
        assert room.kinds() == []
        assert clock.monotonic() - room.heartbeat.last < worker_deadline(SETTINGS)
        job = room.queue.submit()
        await clock.advance(5.0)
        assert job.status.state is JobState.SUCCEEDED
        assert len(target.asked) == 1
        assert room.view.endpoints[0].left_out == ""
        await clock.advance(1000.0)
        assert len(target.asked) == 1
        assert room.view.endpoints[0].left_out == "its model is asleep"


async def test_its_turn_comes_again_soon_after_it_was_left_out(clock: FakeClock):
    target, engines = StubTarget(clock, "a"), Engines()
    other = StubTarget(clock, "b")
    room = Room(clock, [target, other])
    room.engines = lambda: EnginesView((engines.state, replace(engines.state, name="b")))
    engines.put(residency=Residency.LOADING)
    async with room.running():
        await clock.advance(90.0)
        assert room.view.endpoints[0].left_out == "its model is being loaded"
        engines.put(residency=Residency.LOADED)
        await clock.advance(61.0)
        assert (len(target.asked), len(other.asked)) == (1, 1)
        assert room.view.endpoints[0].left_out == ""
        await clock.advance(100.0)
        assert len(target.asked) == 2


async def test_it_waits_for_the_engine_s_first_answer_and_never_probes_blindly(clock: FakeClock):
    target, engines = StubTarget(clock, "a"), Engines()
    room = Room(clock, [target])
    room.engines = engines
    async with room.running():
        await clock.advance(10.0)
        assert target.asked == []
        assert room.view.endpoints[0].left_out == ""
        engines.put(residency=Residency.LOADED)
        await clock.advance(1.0)
        assert len(target.asked) == 1
        engines.state = EngineState("a", "m", simulated=False)
        await clock.advance(1000.0)
        assert len(target.asked) == 1
        assert "has not answered yet" in room.view.endpoints[0].left_out


def test_two_endpoints_of_one_name_are_refused(clock: FakeClock):
    with pytest.raises(Misconfigured, match="share a name"):
        Room(clock, [StubTarget(clock, "a"), StubTarget(clock, "a")]).worker()


LONG = made(BenchSettings, interval=900.0, timeout=60.0)


async def test_an_engine_that_is_too_fast_is_asked_for_more_tokens_at_once(clock: FakeClock):
    target = StubTarget(clock, "a", takes=0.2, rate=2000.0)
    room = Room(clock, [target], LONG)
    async with room.running():
        await clock.advance(10.0)
    assert [request.max_tokens for _, request in target.asked] == [64, 512]
    assert len({request.prompt[:8] for _, request in target.asked}) == 2
    assert [round(request.timeout, 6) for _, request in target.asked] == [60.0, 59.8]
    (endpoint,) = room.view.endpoints
    assert endpoint.probes == 1
    assert endpoint.current is not None
    assert endpoint.current.output_tokens_per_second == pytest.approx(2000)
    assert room.kinds() == [("bench.measured", "a")]


async def test_where_more_tokens_fail_the_first_answer_counts_and_the_reason_says_so(clock: FakeClock):
    target = StubTarget(clock, "a", takes=0.2, rate=2000.0)
    room = Room(clock, [target], LONG)
    async with room.running():
        await clock.advance(0.2)
        target.fails = "the context is too short"
        await clock.advance(5.0)
    (endpoint,) = room.view.endpoints
    assert endpoint.current is not None
    assert endpoint.current.ttft_seconds == pytest.approx(0.05)
    assert endpoint.current.output_tokens == 64
    (withheld,) = endpoint.current.withheld
    assert "64 tokens in 31.5 ms, in one burst" in withheld.reason
    assert "with 512 tokens, the context is too short" in withheld.reason


async def test_a_pace_that_more_tokens_cannot_tell_within_the_budget_names_the_remedy(clock: FakeClock):
    target = StubTarget(clock, "a", takes=0.2, rate=2000.0)
    room = Room(clock, [target], made(BenchSettings, interval=10.0))
    async with room.running():
        await clock.advance(5.0)
    assert len(target.asked) == 1
    assert "raise these, or set bench.max_tokens to 512" in room.events[0].reason


async def test_a_failure_has_its_label_until_one_succeeds(clock: FakeClock):
    target = StubTarget(clock, "a", fails="it answers 429", fault=Fault.LIMITED)
    room = Room(clock, [target])
    async with room.running():
        await clock.advance(5.0)
        assert room.view.endpoints[0].fault == "limited"
        assert room.events[0].evidence["fault"] == "limited"
        target.fails = ""
        await clock.advance(100.0)
        assert (room.view.endpoints[0].fault, room.view.endpoints[0].error) == ("", "")


class Served(Engines):
    """An engine that is read at once, with figures, and with ``users`` whose requests it serves."""

    def __init__(self, target: StubTarget, *, cold: bool) -> None:
        super().__init__()
        self.target = target
        self.users = 0
        self.cold = cold
        self.reads = 0
        self.put(residency=Residency.LOADED, requests_running=0, requests_waiting=0)

    async def read(self, name: str) -> EngineState | None:
        assert name == self.target.name
        self.reads += 1
        asked = len(self.target.asked)
        return replace(
            self.state,
            read=self.target.clock.monotonic(),
            requests_running=self.users,
            requests_finished=asked - 1 if self.target.running else asked,
            worked=None if self.cold else self.target.clock.monotonic(),
        )


def served(
    clock: FakeClock, settings: BenchSettings = SETTINGS, *, cold: bool = False, **more: Any
) -> tuple[Room, StubTarget, Served]:
    target = StubTarget(clock, "a", **more)
    engine = Served(target, cold=cold)
    room = Room(clock, [target], settings)
    room.engines, room.reads = engine, engine
    return room, target, engine


async def test_an_engine_that_serves_others_is_left_alone_and_measured_soon_after(clock: FakeClock):
    room, target, engine = served(clock)
    engine.users = 2
    async with room.running():
        await clock.advance(30.0)
        assert target.asked == []
        (endpoint,) = room.view.endpoints
        assert endpoint.left_out == "it serves 2 requests of others: it is measured once it is idle"
        assert (endpoint.probes, endpoint.failures, room.kinds()) == (0, 0, [])
        engine.users = 0
        await clock.advance(6.0)
        assert len(target.asked) == 1
    (endpoint,) = room.view.endpoints
    assert endpoint.left_out == ""
    assert endpoint.current is not None
    assert (endpoint.current.alone, endpoint.current.warm) == (True, True)


async def test_a_user_who_comes_ends_the_measurement_which_is_repeated_soon_and_is_no_failure(
    clock: FakeClock,
):
    room, target, engine = served(clock, takes=10.0)
    async with room.running():
        await clock.advance(5.0)
        engine.users = 2  # ours among them
        await clock.advance(1.0)
        (endpoint,) = room.view.endpoints
        assert (endpoint.drop, endpoint.probes, endpoint.failures) == ("disturbed", 1, 0)
        assert room.kinds() == [("bench.dropped", "a")]
        assert "it serves 1 request of others since" in room.events[0].reason
        assert room.samples == []
        assert room.status.state is WorkerState.RUNNING
        engine.users = 0
        await clock.advance(61.0)
        assert len(target.asked) == 2
        await clock.advance(10.0)
    (endpoint,) = room.view.endpoints
    assert (endpoint.drop, endpoint.dropped, endpoint.drops) == ("", "", {"disturbed": 1})
    assert endpoint.current is not None


async def test_by_hand_it_waits_for_users_and_tries_again_and_says_where_they_stay(clock: FakeClock):
    room, target, engine = served(clock, takes=10.0, settings=made(BenchSettings, interval=1e6, timeout=60.0))
    async with room.running():
        await clock.advance(20.0)
        engine.users = 1
        job = room.queue.submit()
        await clock.advance(5.0)
        assert job.status.state is JobState.RUNNING
        assert job.status.message == "a: it serves 1 request of others; waiting until it is idle"
        engine.users = 0
        await clock.advance(5.0)
        engine.users = 2
        await clock.advance(1.0)
        engine.users = 0
        await clock.advance(15.0)
        assert job.status.state is JobState.SUCCEEDED
        assert job.status.result["a.alone"] is True
        assert len(target.asked) == 3
        engine.users = 1
        job = room.queue.submit()
        await clock.advance(100.0)
        assert job.status.state is JobState.FAILED
        assert "it serves 1 request of others, for 60 s: measure it once it is idle" in job.status.error
        assert clock.monotonic() - room.heartbeat.last < worker_deadline(SETTINGS)


async def test_measurements_by_schedule_keep_to_their_share_and_one_by_hand_is_exempt(clock: FakeClock):
    room, target, _ = served(clock, takes=2.0, settings=made(BenchSettings, interval=100.0, timeout=60.0))
    async with room.running():
        await clock.advance(350.0)
        assert [round(at) for at, _ in target.asked] == [0]  # 2 s are 0.5 % of 400
        assert "may take 0.5 % of its GPU's time" in room.view.endpoints[0].left_out
        assert room.latest.get() is not None
        job = room.queue.submit()
        await clock.advance(10.0)
        assert job.status.state is JobState.SUCCEEDED
        await clock.advance(100.0)
        assert [round(at) for at, _ in target.asked] == [0, 350, 450]


async def test_a_cold_engine_is_warmed_up_first_and_the_figures_are_not_mixed(clock: FakeClock):
    room, target, _ = served(clock, cold=True, takes=1.0)
    async with room.running():
        await clock.advance(5.0)
    assert [request.max_tokens for _, request in target.asked] == [8, SETTINGS.max_tokens]
    assert len({request.prompt[:8] for _, request in target.asked}) == 2
    (endpoint,) = room.view.endpoints
    assert endpoint.current is not None
    assert endpoint.current.warm
    assert endpoint.current.cold_reason == "the engine had answered nothing since its start"
    assert endpoint.current.cold_ttft_seconds == pytest.approx(0.1)
    assert room.events[0].evidence["cold_ttft_seconds"] == pytest.approx(0.1)
    assert [sample.series for sample in room.samples].count("ttft_seconds") == 1


class Hot:
    """Circumstances of a GPU that is throttled."""

    def read(self) -> None:
        """Take no note."""

    def places(self) -> tuple[str, ...]:
        return ("u0",)

    async def end(self) -> Found:
        return Found("H100", {"driver": "570.1", "hottest GPU in C": 93.0}, "GPU 0: heat")


async def test_a_throttled_sample_is_labelled_or_dropped_as_the_configuration_says(clock: FakeClock):
    for throttled, kind in (("label", "bench.measured"), ("reject", "bench.dropped")):
        room, _, _ = served(clock, settings=made(BenchSettings, interval=100.0, throttled=throttled))
        room.recording = lambda _: Hot()  # type: ignore[assignment,return-value]
        async with room.running():
            await clock.advance(5.0)
        assert room.kinds() == [(kind, "a")]
        assert "GPU 0: heat" in room.events[0].reason
    (endpoint,) = room.view.endpoints
    assert (endpoint.drop, endpoint.sample) == ("throttled", None)


async def test_a_sample_carries_its_circumstances_and_the_event_those_that_matter(clock: FakeClock):
    room, _, _ = served(clock)
    room.recording = lambda _: Hot()  # type: ignore[assignment,return-value]
    async with room.running():
        await clock.advance(5.0)
    sample = room.view.endpoints[0].sample
    assert sample is not None
    assert (sample.gpu, sample.throttled, sample.usual) == ("H100", "GPU 0: heat", False)
    assert sample.circumstances == {"driver": "570.1", "hottest GPU in C": 93.0}
    evidence = room.events[0].evidence
    assert (evidence["driver"], evidence["hottest_gpu_celsius"]) == ("570.1", 93.0)
