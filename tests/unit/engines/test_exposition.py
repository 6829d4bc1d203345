"""An engine's page: the figures that it tells, and nothing else, whatever it holds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines import exposition
from aiidpd.engines.exposition import LONGEST_LINE, MalformedPageError, PageLines, figures
from aiidpd.engines.figures import ENGINES, EngineFigures, NotKnown
from tests.fakes.engine_pages import llama, vllm

NAMES = [name for names in ENGINES for name in names.wanted]


def told(page: str | bytes, piece: int = 1 << 16) -> EngineFigures | NotKnown:
    data = page.encode() if isinstance(page, str) else page
    lines = PageLines()
    for start in range(0, len(data), piece):
        lines.feed(data[start : start + piece])
    return figures(lines.end())


def test_vllm() -> None:
    assert told(vllm()) == EngineFigures("vllm", 2, 1, 1500, 300, uncounted_tokens=2)


def test_llama_cpp_counts_tokens_at_the_end_of_a_request() -> None:
    assert told(llama()) == EngineFigures("llama.cpp", 1, 0, 640, 120, uncounted_tokens=200)
    assert told(llama(running=0)) == EngineFigures("llama.cpp", 0, 0, 640, 120, uncounted_tokens=0)
    older = "\n".join(line for line in llama().splitlines() if "n_tokens_max" not in line)
    assert told(older) == EngineFigures("llama.cpp", 1, 0, 640, 120, uncounted_tokens=None)


@given(
    st.lists(st.tuples(*[st.integers(0, 2**40)] * 4), min_size=1, max_size=20),
    st.integers(1, 300),
)
def test_several_models_and_engines_are_summed(series: list[tuple[int, ...]], piece: int) -> None:
    lines = [
        f'{name}{{engine="{place}",model_name="a,}}\\n {{b"}} {float(value)}'
        for name, column in zip(ENGINES[0].wanted, zip(*series, strict=True), strict=True)
        for place, value in enumerate(column)
    ]
    found = told("\n".join(lines), piece)
    assert isinstance(found, EngineFigures)
    assert (
        found.requests_running,
        found.requests_waiting,
        found.generated_tokens,
        found.prompt_tokens,
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
    found = told(page)
    assert isinstance(found, NotKnown)
    assert found.lasting
    assert found.reason


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
    if isinstance(found, EngineFigures):
        counts = (found.requests_running, found.requests_waiting, found.generated_tokens, found.prompt_tokens)
        assert all(count is None or (isinstance(count, int) and count >= 0) for count in counts)
    else:
        assert len(found.reason) < 300


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
    told(page)
    assert time.process_time() - started < 5  # of the processor's time; it takes some 0.1 s


def test_a_page_that_never_ends_is_left_at_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposition, "MOST_BYTES", 2**16)
    with pytest.raises(MalformedPageError, match="longer than"):
        told((b"x" * 100 + b"\n") * 700, piece=101)
