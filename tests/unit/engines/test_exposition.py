"""An engine's page: the figures that it tells, and nothing else, whatever it holds."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines import exposition
from aiidpd.engines.all import ENGINES
from aiidpd.engines.exposition import LONGEST_LINE, MalformedPageError, PageLines, parse
from aiidpd.engines.figures import EngineFigures, Series, figures_of
from aiidpd.engines.identify import of_page
from tests.fakes import engine_pages
from tests.fakes.engine_pages import llama, vllm

NAMES = [name for engine in ENGINES for name in engine.names.wanted]
VLLM = ENGINES[0].names


def told(page: str | bytes, piece: int = 1 << 16) -> EngineFigures | None:
    """Return the figures of a page; None where it has none of an engine."""
    data = page.encode() if isinstance(page, str) else page
    lines = PageLines()
    for start in range(0, len(data), piece):
        lines.feed(data[start : start + piece])
    samples = parse(lines.end())
    engine = of_page(samples)
    return None if engine is None else figures_of(engine.name, engine.names, samples)


def test_vllm() -> None:
    assert told(vllm()) == EngineFigures(
        "vllm", 2, 1, 1500, 300, uncounted_tokens=2, steps=30, requests_finished=50, requests_cut=10
    )


def test_llama_cpp_counts_tokens_at_the_end_of_a_request_and_steps_at_each() -> None:
    assert told(llama()) == EngineFigures("llama.cpp", 1, 0, 640, 120, 200, 71)
    assert told(llama(running=0)) == EngineFigures("llama.cpp", 0, 0, 640, 120, 0, 71)
    older = "\n".join(line for line in llama().splitlines() if "n_tokens_max" not in line)
    assert told(older) == EngineFigures("llama.cpp", 1, 0, 640, 120, None, 71)


def test_the_others() -> None:
    assert told(engine_pages.sglang()) == EngineFigures("sglang", 2, 1, 900, 80, None, 73)
    assert told(engine_pages.tgi()) == EngineFigures("tgi", 2, 1, 900, 80, None, 73)
    assert told(engine_pages.tensorrt_llm()) == EngineFigures("tensorrt-llm", 2, 1, 900, 80, None, None)


def test_only_series_with_the_wanted_labels_are_summed() -> None:
    lines = PageLines()
    lines.feed(engine_pages.vllm_asleep().encode())
    samples = parse(lines.end())
    name = "vllm:engine_sleep_state"
    assert samples.total(Series(name, (("sleep_state", "awake"),))) == 0
    assert samples.total(Series(name, (("sleep_state", "weights_offloaded"),))) == 1
    assert samples.total(Series(name)) == 1
    assert samples.total(Series(name, (("sleep_state", "other"),))) is None
    assert samples.total(None) is None


@given(
    st.lists(st.tuples(*[st.integers(0, 2**40)] * 8), min_size=1, max_size=20),
    st.integers(1, 300),
)
def test_several_models_and_engines_are_summed(series: list[tuple[int, ...]], piece: int) -> None:
    lines = [
        f'{name}{{engine="{place}",model_name="a,}}\\n {{b"}} {float(value)}'
        for name, column in zip(
            [each for each in VLLM.wanted if "sleep" not in each], zip(*series, strict=True), strict=True
        )
        for place, value in enumerate(column)
    ]
    found = told("\n".join(lines), piece)
    assert isinstance(found, EngineFigures)
    assert (
        found.requests_running,
        found.requests_waiting,
        found.generated_tokens,
        found.prompt_tokens,
        found.steps,
        found.requests_finished,
        found.draft_tokens,
        found.accepted_tokens,
    ) == tuple(sum(column) for column in zip(*series, strict=True))


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1", "0.5", "1e300", "9" * 400])
def test_what_is_no_count_is_not_known_and_hides_no_other(value: str) -> None:
    found = told(vllm().replace("} 2.0", f"}} {value}"))
    assert isinstance(found, EngineFigures)
    assert found.requests_running is None
    assert found.generated_tokens == 1500


@pytest.mark.parametrize(
    "page",
    [
        "",
        "<html>",
        "# HELP x y\nx 1\n",
        "vllm:num_requests_running_else 1",
        "vllm:num_requests_running",
        "vllm:num_requests_running{",
        'vllm:num_requests_running{a="b} 1',
        "vllm:num_requests_running one",
        "vllm:num_requests_running 1_0",
        "vllm:num_requests_running 1 " + "9" * 400,
        b"vllm:num_requests_running\xff\x00 1",
    ],
)
def test_what_is_no_page_is_not_known_for_long(page: str | bytes) -> None:
    found, problem = None, ""
    try:
        found = told(page)
    except MalformedPageError as error:
        problem = str(error)
    assert found is None
    assert len(problem) < 300


noise = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda name, rest: name.encode() + rest,
        st.sampled_from(NAMES),
        st.one_of(
            st.binary(max_size=60), st.text('{}=",\\ \t#.e+-_0123456789aNI\r', max_size=60).map(str.encode)
        ),
    ),
)


@given(st.lists(noise, max_size=12), st.integers(1, 64))
def test_whatever_arrives_there_is_an_answer_and_no_figure_that_is_no_count(
    lines: list[bytes], piece: int
) -> None:
    try:
        found = told(b"\n".join(lines), piece)
    except MalformedPageError:
        return
    if found is not None:
        counts = (found.requests_running, found.requests_waiting, found.generated_tokens, found.steps)
        assert all(count is None or (isinstance(count, int) and count >= 0) for count in counts)


@given(st.integers(1, 5000))
def test_the_pieces_in_which_a_page_arrives_change_nothing(piece: int) -> None:
    assert told(vllm(), piece) == told(vllm())


def test_a_page_with_endless_or_countless_lines_is_left_at_its_bound() -> None:
    with pytest.raises(MalformedPageError, match=f"more than {LONGEST_LINE} bytes"):
        told(b"y" * 5000, piece=100)
    with pytest.raises(MalformedPageError, match="too long or too many"):
        told(b"\n".join(b'vllm:num_requests_running{a="%d"} 1' % place for place in range(5000)))
    with pytest.raises(MalformedPageError, match="too long or too many"):
        told(b'vllm:num_requests_running{a="' + b"z" * LONGEST_LINE + b'"} 1\n')


@pytest.mark.parametrize("filler", ['a="\\"",', 'a="b",', "\\", '"', "{", ","])
def test_the_worst_that_is_parsed_takes_a_bounded_time(filler: str) -> None:
    line = "vllm:num_requests_running{" + filler * ((LONGEST_LINE - 40) // len(filler)) + "} 1\n"
    page = line * (exposition.MOST_WANTED // len(line))
    started = time.process_time()
    with suppress(MalformedPageError):
        told(page)
    assert time.process_time() - started < 5  # of the processor's time; it takes some 0.1 s


def test_a_page_that_never_ends_is_left_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_BYTES", 2**16)
    with pytest.raises(MalformedPageError, match="longer than"):
        told((b"x" * 100 + b"\n") * 700, piece=101)
