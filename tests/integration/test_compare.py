"""Comparisons of a real llama.cpp server: with itself, and with a larger model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from aiidpd.components.bench.alone.prober import AloneProber
from aiidpd.components.bench.compare.requests import ComparisonControl
from aiidpd.components.bench.compare.result import Comparison
from aiidpd.components.bench.compare.run import Comparer
from aiidpd.components.bench.compare.store import ComparisonStore
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.engines.openai import OpenAITarget
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.jobs import JobBook, JobState
from aiidpd.kernel.publisher import Publisher
from aiidpd.kernel.task import Heartbeat, WorkerStatus
from tests.fakes import llama
from tests.tables import made
from tests.waiting import PATIENCE

pytestmark = pytest.mark.real("llama")

SETTINGS = made(BenchSettings, max_tokens=64, first_token_timeout=PATIENCE, timeout=2 * PATIENCE)


def served(folder: Path, missing: Callable[[str, str], None], **shape: int) -> Iterator[llama.LlamaServer]:
    if llama.find_server() is None:
        missing("llama-server", llama.HOW_TO_GET)
    with llama.running(folder, **shape) as server:
        yield server


@pytest.fixture(scope="module")
def small(
    tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
) -> Iterator[llama.LlamaServer]:
    yield from served(tmp_path_factory.mktemp("small"), missing, layers=8, width=256)


@pytest.fixture(scope="module")
def large(
    tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
) -> Iterator[llama.LlamaServer]:
    yield from served(tmp_path_factory.mktemp("large"), missing, layers=24, width=256)


async def compare(folder: Path, urls: Sequence[str], pairs: int) -> Comparison:
    clock, store = SystemClock(), ComparisonStore(folder)
    targets = {name: OpenAITarget(name, url, "tiny") for name, url in zip("ab", urls, strict=True)}
    publish = Publisher(EventBus(), clock, "bench")
    prober = AloneProber(clock=clock, engines=lambda: None, reads=lambda: None, running=set())
    comparer = Comparer(store, ComparisonControl(), clock=clock, publish=publish, prober=prober)
    arguments = {"compare_a": "a", "compare_b": "b", "pairs": pairs, "seed": 1}
    job = JobBook(clock).open("bench", arguments)
    heartbeat = Heartbeat(clock, WorkerStatus("bench"), anyio.Event())
    try:
        with job.running():
            await comparer.run(job, targets, SETTINGS, heartbeat)
    finally:
        for target in targets.values():
            await target.aclose()
    assert job.status.state is JobState.SUCCEEDED, job.status.error
    found = store.load(str(job.status.result["comparison"]))
    for figure in found.figures:
        print(figure.label, figure.ratio, figure.ratio_low, figure.ratio_high, figure.text)  # noqa: T201
    print(found.answers.text, len(found.pairs))  # noqa: T201
    return found


async def test_a_server_agrees_with_itself(small: llama.LlamaServer, tmp_path: Path):
    """No word on its speed: on a machine that others use, five of a hundred such runs may err."""
    found = await compare(tmp_path, [small.url, small.url], 4)
    assert found.answers.share == 1, found.answers
    assert found.answers.judged == len(found.answers.prompts)
    assert all(each.a.ttft_seconds is not None for each in found.pairs), found.pairs


async def test_a_larger_model_is_slower_and_answers_otherwise(
    small: llama.LlamaServer, large: llama.LlamaServer, tmp_path: Path
):
    found = await compare(tmp_path, [small.url, large.url], 20)
    outcome = {each.figure: each.outcome for each in found.figures}
    assert outcome["ttft_seconds"] == outcome["total_seconds"] == "slower"
    assert found.answers.same < found.answers.judged
    place = next(each for each in found.answers.prompts if each.same is False)
    assert place.token is not None
