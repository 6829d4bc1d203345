"""Claims held against physics: the seed system's five, the originals of them, and hostile files."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.claim_text import Claim, ClaimError, parse_claims
from aiidpd.physics.claims import Assessment, Verdict, assess
from aiidpd.physics.hardware import parse_hardware

ROOT = Path(__file__).resolve().parents[3]
KNOWN = parse_hardware((ROOT / "aiidpd/physics/hardware.toml").read_text())
SHIPPED = parse_claims((ROOT / "etc/claims.toml").read_text())


def of(name: str) -> Assessment:
    return assess(next(claim for claim in SHIPPED.claims if claim.name == name), KNOWN)


@pytest.mark.parametrize(
    ("name", "verdict", "says"),
    [
        ("vllm-decode", Verdict.POSSIBLE, "112 tok/s"),
        ("vllm-decode-original", Verdict.IMPOSSIBLE, "1.25 times"),
        ("vllm-ttft", Verdict.ONLY_IF, "438 tokens"),
        ("vllm-ttft-original", Verdict.ONLY_IF, "120 tokens"),
        ("hybrid-70b", Verdict.IMPOSSIBLE, "3.449 tok/s"),
        ("hybrid-70b-original", Verdict.IMPOSSIBLE, "8.7 times"),
        ("vllm-sequences", Verdict.ONLY_IF, "1136 tokens"),
        ("vllm-sequences-original", Verdict.ONLY_IF, "272 tokens"),
        ("usb4-rpc", Verdict.POSSIBLE, "0.05352 ms"),
        ("usb4-rpc-original", Verdict.ONLY_IF, "software"),
    ],
)
def test_the_claims_of_the_seed_system(name: str, verdict: Verdict, says: str) -> None:
    found = of(name)
    assert found.verdict is verdict
    assert says in " ".join((*found.arithmetic, found.condition))
    assert bool(found.condition) == (verdict is not Verdict.POSSIBLE)


def test_each_original_is_named_by_the_claim_that_corrected_it() -> None:
    names = {claim.name for claim in SHIPPED.claims}
    corrected = {claim.corrects for claim in SHIPPED.claims if claim.corrects}
    assert len(names) == 10
    assert corrected == {name for name in names if name.endswith("-original")}


def computed(text: str) -> float:
    """Return the value of an expression of numbers, + - * / and brackets."""
    assert re.fullmatch(r"[\d. +*/()-]+", text)
    return float(eval(text))


@pytest.mark.parametrize("slip", SHIPPED.slips, ids=lambda slip: slip.said[:30])
def test_the_arithmetic_of_each_slip_holds(slip: Any) -> None:
    for each in slip.arithmetic.split(";"):
        left, right = each.split("=")
        digits = len(right.strip().partition(".")[2])
        assert round(computed(left), digits) == pytest.approx(float(right)), each


def test_the_slips_are_called_what_they_are() -> None:
    text = " ".join(f"{slip.said} {slip.really}" for slip in SHIPPED.slips)
    for each in (
        "112",
        "89.6",
        "expectation",
        "102.4 GB/s",
        "3.45",
        "weights of 8 GB were forgotten",
        "never grows",
    ):
        assert each in text


def made(figure: str, low: float, high: float, *, of: str = "request", **setting: Any) -> Claim:
    return Claim("c", "t", figure, of == "batch", low, high, setting)


def test_speed_of_one_request_and_of_a_batch_are_two_figures() -> None:
    setting = {"weights": "8GB", "bandwidth": "896GB/s", "batch": 16}
    single = assess(made("decode", 140, 170, **setting), KNOWN)
    together = assess(made("decode", 140, 170, of="batch", **setting), KNOWN)
    assert single.verdict is Verdict.IMPOSSIBLE
    assert "of several requests together it is another figure" in single.condition
    assert together.verdict is Verdict.POSSIBLE
    assert together.limit == pytest.approx(16 * 112)
    assert "another figure" not in assess(made("decode", 2000, 2000, of="batch", **setting), KNOWN).condition


def test_a_draft_raises_the_ceiling() -> None:
    found = assess(made("decode", 140, 170, weights="8GB", bandwidth="896GB/s", draft_accepted=2), KNOWN)
    assert found.verdict is Verdict.POSSIBLE or found.limit == pytest.approx(224)


def test_a_claim_between_what_is_usual_and_the_ceiling() -> None:
    found = assess(made("decode", 110, 111, weights="8GB", bandwidth="896GB/s"), KNOWN)
    assert found.verdict is Verdict.ONLY_IF
    assert "usual" in found.condition
    over = assess(made("decode", 100, 120, weights="8GB", bandwidth="896GB/s"), KNOWN)
    assert (over.verdict, "no more than 112" in over.condition) == (Verdict.ONLY_IF, True)


def test_times_to_the_first_token() -> None:
    setting = {"gpu": "RTX 5070 Ti", "parameters": 8.03e9, "weights": "8GB"}
    assert assess(made("ttft", 0.04, 0.08, prompt_tokens=100, **setting), KNOWN).verdict is Verdict.POSSIBLE
    assert assess(made("ttft", 0.04, 0.08, prompt_tokens=1000, **setting), KNOWN).verdict is Verdict.ONLY_IF
    assert assess(made("ttft", 0.001, 0.002, **setting), KNOWN).verdict is Verdict.IMPOSSIBLE
    narrow = assess(made("ttft", 0.04, 0.08, precision="fp8", **setting), KNOWN)
    assert "1751 tokens" in narrow.condition


def test_sequences_that_fit_and_weights_that_do_not() -> None:
    setting = {"weights": "8GB", "layers": 32, "kv_heads": 8, "head_length": 128, "length": 1000}
    assert assess(made("sequences", 1, 8, gpu="RTX 4090", **setting), KNOWN).verdict is Verdict.POSSIBLE
    assert assess(made("sequences", 1, 8, memory="8GiB", **setting), KNOWN).verdict is Verdict.IMPOSSIBLE


def test_a_hop_that_the_wire_forbids() -> None:
    found = assess(made("hop", 1e-6, 1e-5, link="ethernet-1g", hidden=8192), KNOWN)
    assert found.verdict is Verdict.IMPOSSIBLE


@pytest.mark.parametrize(
    ("figure", "setting"),
    [
        ("decode", {}),
        ("decode", {"weights": "8GB"}),
        ("decode", {"weights": "8", "bandwidth": "896GB/s"}),
        ("decode", {"weights": "8GB", "cpu_bytes": "4GB", "bandwidth": "896GB/s"}),
        ("decode", {"weights": "8GB", "gpu": "banana"}),
        ("decode", {"weights": "8GB", "bandwidth": "896GB/s", "draft_accepted": 0.5}),
        ("decode", {"weights": "8GB", "bandwidth": "896GB/s", "batch": 0}),
        ("decode", {"weights": "8GB", "bandwidth": "896GB/s", "batch": "many"}),
        ("ttft", {"gpu": "RTX 4060", "parameters": 8e9, "weights": "8GB"}),
        ("sequences", {"gpu": "RTX 4090", "weights": "8GB"}),
        ("sequences", {"weights": "8GB", "layers": 1}),
        (
            "sequences",
            {"gpu": "4090", "weights": "8GB", "layers": 1, "kv_heads": 1, "head_length": 1, "utilization": 2},
        ),
        ("hop", {"link": "string", "hidden": 1}),
        ("hop", {"link": "usb4"}),
    ],
)
def test_a_setting_that_lacks_something_says_what(figure: str, setting: dict[str, Any]) -> None:
    with pytest.raises(ClaimError, match="c: "):
        assess(made(figure, 1, 2, **setting), KNOWN)


ROW = '[[claims]]\nname = "n"\ntext = "t"\nfigure = "decode"\nlow = 1\nhigh = 2\nsetting = {}\n'


@pytest.mark.parametrize(
    "text",
    [
        "]",
        "claims = 3",
        "claims = [3]",
        "slips = [3]",
        "other = 1",
        ROW + ROW,
        ROW.replace('"decode"', '"speed"'),
        ROW.replace("low = 1", "low = 3"),
        ROW.replace("low = 1", "low = 0"),
        ROW.replace("low = 1", "low = nan"),
        ROW.replace("low = 1", "low = true"),
        ROW.replace("high = 2", "high = inf"),
        ROW.replace("setting = {}", ""),
        ROW.replace('"n"', f'"{"n" * 501}"'),
        ROW + 'extra = "x"',
        ROW.replace('text = "t"\n', ""),
        "[[slips]]\nsaid = 'x'",
        "[[claims]]\n" * 201,
    ],
)
def test_what_is_no_file_of_claims(text: str) -> None:
    with pytest.raises(ClaimError):
        parse_claims(text)


@given(st.text(max_size=200))
def test_any_text_is_a_file_of_claims_or_refused(text: str) -> None:
    try:
        parse_claims(text)
    except ClaimError:
        return


VALUES = st.sampled_from(
    [
        "8GB",
        "16GiB",
        "896GB/s",
        "RTX 4090",
        "usb4",
        "f16",
        "",
        "x",
        0,
        1,
        -1,
        2.5,
        1e30,
        math.inf,
        math.nan,
        True,
        None,
        [],
        32,
    ]
)
KEYS = st.sampled_from(
    [
        "weights",
        "gpu",
        "bandwidth",
        "gpu_bytes",
        "cpu_bytes",
        "ram_bandwidth",
        "batch",
        "draft_accepted",
        "parameters",
        "precision",
        "prompt_tokens",
        "tflops",
        "memory",
        "layers",
        "kv_heads",
        "head_length",
        "kv_type",
        "utilization",
        "length",
        "non_torch",
        "activations",
        "link",
        "hidden",
        "hops",
    ]
)


@given(
    st.sampled_from(["decode", "ttft", "sequences", "hop"]),
    st.sampled_from(["request", "batch"]),
    st.floats(1e-6, 1e6),
    st.dictionaries(KEYS, VALUES, max_size=12),
)
def test_any_setting_is_assessed_or_refused(
    figure: str, kind: str, low: float, setting: dict[str, Any]
) -> None:
    try:
        found = assess(made(figure, low, 2 * low, of=kind, **setting), KNOWN)
    except ClaimError:
        return
    assert found.arithmetic
    if figure == "decode" and found.limit is not None:
        assert (found.verdict is Verdict.IMPOSSIBLE) == (low > found.limit)
