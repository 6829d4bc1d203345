"""The probe against a real engine of bad manners: llama-cpp-python counts nothing, drops users for others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import httpx
import pytest

from aiidpd.components.bench.schedule import request
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.bench.stats import DECODE, measure
from aiidpd.engines import chat
from aiidpd.engines.openai import OpenAITarget
from aiidpd.engines.target import ProbeRequest, Timeline
from aiidpd.kernel.errors import Unavailable
from tests.fakes import llama_cpp_python
from tests.tables import made
from tests.waiting import PATIENCE

pytestmark = pytest.mark.real("llama")

SETTINGS = made(BenchSettings, max_tokens=64, first_token_timeout=PATIENCE, timeout=2 * PATIENCE)


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
) -> Iterator[llama_cpp_python.PythonServer]:
    if llama_cpp_python.find_python() is None:
        missing("llama-cpp-python", llama_cpp_python.HOW_TO_GET)
    with llama_cpp_python.running(tmp_path_factory.mktemp("python"), layers=8, width=256) as served:
        yield served


async def probed(url: str, form: chat.Form, asked: ProbeRequest) -> Timeline:
    target = OpenAITarget("python", url, "tiny", form=form)
    try:
        return await target.probe(asked)
    finally:
        await target.aclose()


@pytest.mark.parametrize("form", [chat.Form.CHAT, chat.Form.COMPLETION])
async def test_the_first_token_has_its_time_and_a_pace_is_true_or_withheld(
    server: llama_cpp_python.PythonServer, form: chat.Form
):
    before = len(server.logged())
    sample = measure(await probed(server.url, form, request(SETTINGS, f"666666{form}")))
    (truth,) = server.logged()[before:]
    assert truth.runs == SETTINGS.max_tokens - 1
    assert sample.ttft_seconds is not None, sample.withheld
    assert sample.ttft_seconds >= truth.prompt
    assert sample.finish == "length"
    # libllama's time for its runs is a part of each token's; its whole time has all of them and the prompt.
    least, most = truth.decode / truth.runs, (truth.whole - truth.prompt) / truth.runs
    if sample.time_per_output_token_seconds is not None:
        assert least <= sample.time_per_output_token_seconds <= most
    else:
        assert DECODE in [each.figure for each in sample.withheld]
        assert sample.output_tokens_per_second is None
    if sample.time_per_output_token_least_seconds is not None:
        assert sample.time_per_output_token_least_seconds <= most
    if sample.time_per_output_token_most_seconds is not None:
        assert sample.time_per_output_token_most_seconds >= least


async def test_a_form_that_it_has_not_is_a_labelled_failure(server: llama_cpp_python.PythonServer):
    with pytest.raises(Unavailable, match="404 Not Found"):
        await probed(server.url, chat.Form.LLAMA_CPP, request(SETTINGS, "99999999"))


async def test_an_answer_that_it_drops_for_another_user_gives_no_pace(server: llama_cpp_python.PythonServer):
    found: list[Timeline | Unavailable] = []

    async def probe() -> None:
        try:
            found.append(
                await probed(server.url, chat.Form.CHAT, ProbeRequest("tell", 3000, PATIENCE, 4 * PATIENCE))
            )
        except Unavailable as error:
            found.append(error)

    with anyio.fail_after(4 * PATIENCE):
        async with anyio.create_task_group() as group, httpx.AsyncClient(timeout=2 * PATIENCE) as other:
            group.start_soon(probe)
            await anyio.sleep(0.3)
            body = {"messages": [{"role": "user", "content": "short"}], "max_tokens": 2}
            answer = await other.post(f"{server.url}/v1/chat/completions", json=body)
            assert answer.status_code == httpx.codes.OK
    (outcome,) = found
    if isinstance(outcome, Unavailable):
        assert outcome.reason
        return
    sample = measure(outcome)
    assert sample.time_per_output_token_seconds is None
    assert sample.output_tokens_per_second is None
