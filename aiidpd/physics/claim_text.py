"""Claims as a TOML file has them: names, figures, bounds, and the setting that each holds in (pure)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiidpd.physics import capacity, network
from aiidpd.physics.efficiency import GENERAL
from aiidpd.physics.hardware import Device, Hardware, UnknownDevice
from aiidpd.physics.kv_cache import KV_TYPES, KvShape
from aiidpd.physics.units import NotAQuantity, parse_bytes, parse_rate

FIGURES: Final = ("decode", "ttft", "sequences", "hop")
OF: Final = ("request", "batch")
_CLAIMS_LIMIT: Final = 200
_TEXT_LIMIT: Final = 500
_LARGEST: Final = 1e15

T = TypeVar("T")


class ClaimError(ValueError):
    """A claim that can't be read or lacks something: which one, and why."""


@dataclass(frozen=True, slots=True)
class Claim:
    """One claim: ``low`` to ``high`` of a figure, in tokens a second, seconds, or sequences.

    ``endpoint`` names the endpoint of this machine that it is about, if any. ``corrects`` is the claim that
    this one took the place of.
    """

    name: str
    text: str
    figure: str
    of_batch: bool
    low: float
    high: float
    setting: Mapping[str, Any]
    source: str = ""
    endpoint: str = ""
    corrects: str = ""


@dataclass(frozen=True, slots=True)
class Slip:
    """Slip in somebody's arithmetic: what was said, and the arithmetic as it is."""

    said: str
    really: str
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Claims:
    """Contents of one file of claims."""

    claims: tuple[Claim, ...]
    slips: tuple[Slip, ...] = ()


def parse_claims(text: str) -> Claims:
    """Return the claims of a TOML file; raises :class:`ClaimError`."""
    try:
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ClaimError(f"it is no TOML: {error}") from None
    unknown = document.keys() - {"claims", "slips"}
    rows, slips = document.get("claims", []), document.get("slips", [])
    if unknown or not isinstance(rows, list) or not isinstance(slips, list):
        raise ClaimError("it holds more than [[claims]] and [[slips]]")
    if len(rows) > _CLAIMS_LIMIT or len(slips) > _CLAIMS_LIMIT:
        raise ClaimError(f"it has more than {_CLAIMS_LIMIT} claims")
    claims = tuple(_claim(row, number) for number, row in enumerate(rows, 1))
    names = [claim.name for claim in claims]
    if len(set(names)) < len(names):
        raise ClaimError("two claims share a name")
    return Claims(claims, tuple(_slip(row) for row in slips))


def _claim(row: object, number: int) -> Claim:
    if not isinstance(row, dict):
        raise ClaimError(f"claim {number} is no table")
    name = _text(row, "name", f"claim {number}")
    known = {"name", "text", "figure", "of", "low", "high", "source", "endpoint", "corrects", "setting"}
    if row.keys() - known:
        raise ClaimError(f"{name} has keys that no claim has: {', '.join(sorted(row.keys() - known))[:100]}")
    figure, of = _text(row, "figure", name), _text(row, "of", name, "request")
    if figure not in FIGURES or of not in OF:
        raise ClaimError(f"{name}: figure is one of {', '.join(FIGURES)}, and of one of {', '.join(OF)}")
    low, high = _number(row, "low", name), _number(row, "high", name)
    if not 0 < low <= high:
        raise ClaimError(f"{name}: low is above 0 and not above high")
    setting = row.get("setting")
    if not isinstance(setting, dict):
        raise ClaimError(f"{name} has no setting that it holds in")
    return Claim(
        name=name,
        text=_text(row, "text", name),
        figure=figure,
        of_batch=of == "batch",
        low=low,
        high=high,
        setting=setting,
        source=_text(row, "source", name, ""),
        endpoint=_text(row, "endpoint", name, ""),
        corrects=_text(row, "corrects", name, ""),
    )


def _slip(row: object) -> Slip:
    if not isinstance(row, dict):
        raise ClaimError("a slip is no table")
    return Slip(*(_text(row, key, "a slip") for key in ("said", "really", "arithmetic")))


@dataclass(frozen=True, slots=True)
class DecodeSetting:
    """Bytes that a step reads on either side, and how fast."""

    gpu_bytes: float
    gpu_bandwidth: float
    cpu_bytes: float
    ram_bandwidth: float
    batch: int
    draft_accepted: float
    expected_seconds: float
    efficiency_source: str


def decode_setting(claim: Claim, hardware: Hardware) -> DecodeSetting:
    """Return what a claim of decode speed holds in.

    ``weights`` are read on the device, or ``gpu_bytes`` there and ``cpu_bytes`` from RAM.
    """
    weights, on_cpu = _size(claim, "weights"), _size(claim, "cpu_bytes") or 0.0
    on_gpu = _size(claim, "gpu_bytes")
    if on_gpu is None:
        on_gpu = max(0.0, (weights or 0.0) - on_cpu)
    device = _device(claim, hardware)
    bandwidth = _rate(claim, "bandwidth") or (device.bandwidth if device else None)
    ram = _rate(claim, "ram_bandwidth")
    if not on_gpu and not on_cpu:
        raise ClaimError(f"{claim.name}: its setting says neither weights nor gpu_bytes nor cpu_bytes")
    if (on_gpu and bandwidth is None) or (on_cpu and ram is None):
        raise ClaimError(f"{claim.name}: its setting lacks gpu or bandwidth, or ram_bandwidth")
    of = hardware.efficiency(device) if device else GENERAL
    expected = of.overhead(on_gpu + on_cpu)
    expected += on_gpu / of.bandwidth(bandwidth) if bandwidth else 0.0
    expected += on_cpu / GENERAL.bandwidth(ram) if ram else 0.0
    draft = _count(claim, "draft_accepted", 1.0)
    if draft < 1:
        raise ClaimError(f"{claim.name}: draft_accepted is 1 or more")
    return DecodeSetting(
        on_gpu, bandwidth or 0.0, on_cpu, ram or 0.0, _whole(claim, "batch", 1), draft, expected, of.source
    )


@dataclass(frozen=True, slots=True)
class TtftSetting:
    """Model and device that read a prompt; ``prompt_tokens`` None: not stated."""

    parameters: float
    flops: float
    read_bytes: float
    bandwidth: float
    prompt_tokens: float | None


def ttft_setting(claim: Claim, hardware: Hardware) -> TtftSetting:
    """Return what a claim of a time to the first token holds in."""
    device = _device(claim, hardware)
    precision = claim.setting.get("precision", "fp16")
    bandwidth = _rate(claim, "bandwidth") or (device.bandwidth if device else None)
    teraflops = _count(claim, "tflops", 0.0)
    flops = 1e12 * teraflops or (device.flops_at(str(precision)) if device else None)
    parameters, weights = _count(claim, "parameters", 0.0), _size(claim, "weights")
    if not flops or not parameters or bandwidth is None or weights is None:
        raise ClaimError(f"{claim.name}: its setting lacks parameters, weights, or a gpu with known compute")
    tokens = _count(claim, "prompt_tokens", 0.0)
    return TtftSetting(parameters, flops, weights, bandwidth, tokens or None)


@dataclass(frozen=True, slots=True)
class SequencesSetting:
    """Room beside the weights, and the keys and values of a sequence of ``length`` tokens."""

    room: capacity.Capacity
    kv: KvShape
    kv_type: str
    length: int
    lengths: tuple[int, ...]


def sequences_setting(claim: Claim, hardware: Hardware) -> SequencesSetting:
    """Return what a claim of sequences at once holds in."""
    device = _device(claim, hardware)
    memory = _size(claim, "memory") or (device.memory if device else None)
    weights = _size(claim, "weights")
    if memory is None or weights is None:
        raise ClaimError(f"{claim.name}: its setting lacks weights, or memory or a gpu with known memory")
    layers, heads = _whole(claim, "layers", 0), _whole(claim, "kv_heads", 0)
    head = _whole(claim, "head_length", 0)
    kv_type = str(claim.setting.get("kv_type", "f16"))
    if not 0 < layers <= 10_000 or not heads or not head or kv_type not in KV_TYPES:  # noqa: PLR2004 -- blocks of a model
        raise ClaimError(f"{claim.name}: its setting lacks layers, kv_heads, head_length or a known kv_type")
    kv = KvShape(kv_heads=(heads,) * layers, key_length=head, value_length=head)
    share = _count(claim, "utilization", 0.9)
    if not 0 < share <= 1:
        raise ClaimError(f"{claim.name}: utilization is above 0 and at most 1")
    length = _whole(claim, "length", 4096)
    room = capacity.vllm(
        memory,
        weights,
        kv,
        utilization=share,
        kv_type=kv_type,
        non_torch=_size(claim, "non_torch") or capacity.NON_TORCH_BYTES,
        activations=_size(claim, "activations") or capacity.ACTIVATION_BYTES,
    )
    lengths = tuple(sorted({2048, 4096, length}))
    return SequencesSetting(room, kv, kv_type, length, lengths)


@dataclass(frozen=True, slots=True)
class HopSetting:
    """Link and width of what crosses it."""

    link: network.Link
    hidden: int
    hops: int


def hop_setting(claim: Claim) -> HopSetting:
    """Return what a claim of a hop's time holds in."""
    link = network.LINKS.get(str(claim.setting.get("link", "")))
    hidden = _whole(claim, "hidden", 0)
    if link is None or not hidden:
        raise ClaimError(f"{claim.name}: its setting lacks hidden, or a link of {', '.join(network.LINKS)}")
    return HopSetting(link, hidden, _whole(claim, "hops", 1))


def _device(claim: Claim, hardware: Hardware) -> Device | None:
    name = claim.setting.get("gpu")
    if name is None:
        return None
    try:
        return hardware.find(str(name))
    except UnknownDevice as error:
        raise ClaimError(f"{claim.name}: {error}") from None


def _size(claim: Claim, key: str) -> float | None:
    return _quantity(claim, key, parse_bytes)


def _rate(claim: Claim, key: str) -> float | None:
    return _quantity(claim, key, parse_rate)


def _quantity(claim: Claim, key: str, parse: Callable[[str], T]) -> T | None:
    value = claim.setting.get(key)
    if value is None:
        return None
    try:
        return parse(value if isinstance(value, str) else str(value))
    except NotAQuantity as error:
        raise ClaimError(f"{claim.name}: {key}: {error}") from None


def _count(claim: Claim, key: str, default: float) -> float:
    return _number(claim.setting, key, claim.name) if key in claim.setting else default


def _whole(claim: Claim, key: str, default: int) -> int:
    value = _count(claim, key, default)
    if value != int(value) or value < 0 or (value == 0 and default):
        raise ClaimError(f"{claim.name}: {key} is a whole number above 0")
    return int(value)


def _number(row: Mapping[str, Any], key: str, name: str) -> float:
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClaimError(f"{name}: {key} is a number")
    if not math.isfinite(value) or not 0 <= value <= _LARGEST:
        raise ClaimError(f"{name}: {key} is from 0 to {_LARGEST:g}")
    return float(value)


def _text(row: Mapping[str, Any], key: str, name: str, default: str | None = None) -> str:
    value = row.get(key, default)
    if not isinstance(value, str) or len(value) > _TEXT_LIMIT or (default is None and not value):
        raise ClaimError(f"{name}: {key} is a text of at most {_TEXT_LIMIT} characters")
    return value
