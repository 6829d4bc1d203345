"""Profiles: the shipped ones, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.bench.accept.criteria import FIGURES, Bound, Concurrency, Question, Requests
from aiidpd.components.bench.accept.profile_text import ProfileError, parse_profile
from aiidpd.components.bench.accept.runner import read_profile
from aiidpd.components.bench.given import NotUsable

ROOT = Path(__file__).resolve().parents[5]
ONE = '[[criteria]]\nname = "speed"\nfigure = "tokens_per_second"\nabove = "60 tok/s"\n'
MINIMAL = f'name = "own"\n{ONE}'


def test_the_profile_of_the_seed_system_has_its_criteria():
    profile = parse_profile(read_profile("seed"))
    wanted = {each.name: (each.engine, each.figure, each.wanted()) for each in profile.criteria}
    assert wanted == {
        "vllm-ttft-p50": ("vllm", "ttft_p50", "< 100 ms"),
        "vllm-ttft-p95": ("vllm", "ttft_p95", "< 200 ms"),
        "vllm-speed": ("vllm", "tokens_per_second", "> 60 tok/s"),
        "llamacpp-ttft-p50": ("llama.cpp", "ttft_p50", "< 50 ms"),
        "llamacpp-speed": ("llama.cpp", "tokens_per_second", "> 100 tok/s"),
        "concurrent-32": ("", "concurrent_success", ">= 95 %"),
        "gpu-utilization": ("vllm", "gpu_utilization", "> 75 %"),
        "no-out-of-memory": ("", "out_of_memory", "<= 0"),
    }
    assert (profile.concurrency.streams, profile.load_seconds) == (32, 600)
    assert profile.requests.warm_up > 0
    assert profile.requests.count >= 20  # else there is no p95


def test_the_usual_profile_types_in_no_speed_and_no_time():
    profile = parse_profile(read_profile("default"))
    assert all(each.bound.derived or each.dimension.value == "share" for each in profile.criteria)
    assert [each.name for each in profile.criteria if not each.required] == ["first-token"]


@pytest.mark.parametrize("name", ["default", "seed"])
def test_the_shipped_profiles_are_those_of_etc(name: str):
    assert read_profile(name) == (ROOT / f"etc/acceptance/{name}.toml").read_text()


def test_what_is_left_out_has_its_usual_value():
    profile = parse_profile(MINIMAL)
    assert (profile.requests, profile.concurrency, profile.load_seconds) == (Requests(), Concurrency(), 0)


def test_answers_are_equal_or_contained():
    profile = parse_profile(
        MINIMAL
        + '[[answers]]\nprompt = "2 + 2?"\nequals = "4"\n'
        + '[[answers]]\nprompt = "Capital?"\ncontains = "Paris"\n'
    )
    assert profile.questions == (Question("2 + 2?", "4"), Question("Capital?", "Paris", contains=True))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "no TOML"),
        ('name = "own"', r"no \[\[criteria\]\]"),
        (ONE, "name is a text"),
        (f'colour = "red"\n{MINIMAL}', "has no key colour"),
        (f"{MINIMAL}colour = 1\n", "speed has no key colour; it may have name"),
        (f"{MINIMAL}at_least = '1 tok/s'\n", "needs one of below"),
        (MINIMAL.replace("above", "#"), "needs one of below"),
        (MINIMAL.replace("60 tok/s", "60"), "speed: above: '60' is no tokens a second"),
        (MINIMAL.replace("60 tok/s", "60 ms"), "speed: above: '60 ms'"),
        (MINIMAL.replace("tokens_per_second", "beauty"), "speed: figure is one of"),
        (MINIMAL.replace('above = "60 tok/s"', 'at_most_of_least = "400 %"'), "is for ttft_p50"),
        (MINIMAL.replace('above = "60 tok/s"', 'at_least_of_expected = "120 %"'), "100 % at most"),
        (f"{MINIMAL}required = 1\n", "required is true or false"),
        (f"{MINIMAL}{ONE}", "two criteria share the name speed"),
        (f"{MINIMAL}[requests]\ncounts = 3\n", r"\[requests\] has no key counts"),
        (f"{MINIMAL}[requests]\ncount = 0\n", "from 1 to 10000"),
        (f"{MINIMAL}[requests]\ntimeout = '3 days'\n", "timeout"),
        (f"{MINIMAL}[concurrency]\nstreams = 99999\n", "streams is a whole number"),
        (f"{MINIMAL}[load]\nduration = 10\n", r"\[load\]: duration: 10 is no seconds"),
        (f"{MINIMAL}[[answers]]\nprompt = 'x'\n", "answer 1: it needs one of equals and contains"),
        (
            MINIMAL.replace("tokens_per_second", "exact_answers").replace("60 tok/s", "90 %"),
            r"there are no \[\[answers\]\]",
        ),
        (
            MINIMAL.replace("tokens_per_second", "ttft_p50").replace(
                'above = "60 tok/s"', 'at_most_of_least = "50 %"'
            ),
            "nothing takes less than the least",
        ),
        ("criteria = 3\nname = 'x'", "criteria are tables"),
        ("requests = 3\n" + MINIMAL, "requests is a table"),
    ],
)
def test_a_profile_that_can_t_be_is_refused_with_its_key(text: str, reason: str):
    with pytest.raises(ProfileError, match=reason):
        parse_profile(text)


@given(st.text(max_size=300))
def test_any_text_is_a_profile_or_refused(text: str):
    with pytest.raises(ProfileError):
        parse_profile(text)


VALUES: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(["'60 tok/s'", "'100 ms'", "'95 %'", "'400 %'", "3", "true", "[]", "''", "-1", "0.5"])
)


@given(
    st.dictionaries(st.sampled_from([*Bound, "name", "figure", "engine", "x"]), VALUES, max_size=4),
    st.sampled_from(list(FIGURES)),
)
def test_any_criterion_is_one_or_refused(keys: dict[str, str], figure: str):
    rows = {"name": "'one'", "figure": f"'{figure}'", **keys}
    text = "name = 'own'\n[[criteria]]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items())
    try:
        profile = parse_profile(text)
    except ProfileError:
        return
    (only,) = profile.criteria
    assert only.wanted()


def test_a_file_that_can_t_be_read_is_named(tmp_path: Path):
    with pytest.raises(NotUsable, match="no such file or directory; shipped are default and seed"):
        read_profile(str(tmp_path / "absent.toml"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(NotUsable, match="no text"):
        read_profile(str(tmp_path / "binary"))
    (tmp_path / "huge").write_bytes(b"#" * 300_000)
    with pytest.raises(NotUsable, match="larger than 256 KiB"):
        read_profile(str(tmp_path / "huge"))
    (tmp_path / "wrong").write_text("x = 1")
    with pytest.raises(NotUsable, match="has no key x"):
        read_profile(str(tmp_path / "wrong"))
