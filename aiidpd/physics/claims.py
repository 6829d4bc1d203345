"""Claims of speed against the limits of physics: possible, impossible, or possible only if (pure)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aiidpd.physics import capacity, network, offload, roofline, speculative
from aiidpd.physics.claim_text import (
    Claim,
    ClaimError,
    decode_setting,
    hop_setting,
    sequences_setting,
    ttft_setting,
)
from aiidpd.physics.hardware import Hardware
from aiidpd.physics.units import GB, gb_per_second, gib

_MOST_ACCEPTED: Final = 8.0  # tokens a step, beyond what drafts yield on text
_LOOSE: Final = 16  # tokens: in a shorter sequence nothing is asked or answered


class Verdict(StrEnum):
    """Answer to a claim, as physics gives it."""

    POSSIBLE = "possible"
    ONLY_IF = "possible only if"
    IMPOSSIBLE = "impossible"


@dataclass(frozen=True, slots=True)
class Assessment:
    """Verdict on one claim with its arithmetic, a line each; ``condition`` completes "only if"."""

    claim: Claim
    verdict: Verdict
    condition: str
    arithmetic: tuple[str, ...]
    limit: float | None
    """Bound of the figure: the most of a speed or number, the least of a time. None where there is no one."""


def assess(claim: Claim, hardware: Hardware) -> Assessment:
    """Return the verdict on ``claim``; raises :class:`ClaimError` where its setting lacks something."""
    return _KINDS[claim.figure](claim, hardware)


def _decode(claim: Claim, hardware: Hardware) -> Assessment:
    given = decode_setting(claim, hardware)
    lines, seconds = [], 0.0
    if given.gpu_bytes:
        part = offload.Part(given.gpu_bytes, given.gpu_bandwidth)
        seconds += part.seconds
        lines.append(
            f"GPU: {_gb(given.gpu_bytes)} / {gb_per_second(given.gpu_bandwidth)} = {_ms(part.seconds)}"
        )
    if given.cpu_bytes:
        part = offload.Part(given.cpu_bytes, given.ram_bandwidth)
        seconds += part.seconds
        lines.append(
            f"CPU: {_gb(given.cpu_bytes)} / {gb_per_second(given.ram_bandwidth)} = {_ms(part.seconds)}"
        )
    single = 1 / seconds
    lines.append(f"ceiling of one request: 1 / {_ms(seconds)} = {single:.4g} tok/s")
    limit = single
    if given.draft_accepted > 1:
        limit = speculative.ceiling(limit, given.draft_accepted)
        lines.append(f"x {given.draft_accepted:g} tokens accepted a step = {limit:.4g} tok/s")
    if claim.of_batch:
        limit *= given.batch
        lines.append(f"x {given.batch} requests at once = {limit:.4g} tok/s of all together")
    expected = limit * seconds / given.expected_seconds
    lines.append(f"expected: {expected:.4g} tok/s ({given.efficiency_source})")
    what = f"a batch of {given.batch}" if claim.of_batch else "one request"
    if claim.low > limit:
        need = claim.low / limit
        lines.append(f"{claim.low:g} tok/s is {need:.3g} times the ceiling of {what}")
        return Assessment(claim, Verdict.IMPOSSIBLE, _way_out(claim, need), tuple(lines), limit)
    if claim.high > limit:
        condition = f"no more than {limit:.4g} of its {claim.low:g}-{claim.high:g} tok/s is meant for {what}"
        return Assessment(claim, Verdict.ONLY_IF, condition, tuple(lines), limit)
    if claim.low > expected:
        usual = f"{expected / limit:.0%} is usual"
        condition = f"the engine reaches {claim.low / limit:.0%} of the ceiling, where {usual}"
        return Assessment(claim, Verdict.ONLY_IF, condition, tuple(lines), limit)
    return Assessment(claim, Verdict.POSSIBLE, "", tuple(lines), limit)


def _way_out(claim: Claim, need: float) -> str:
    """Return what would have to be otherwise, of a claim ``need`` times beyond its ceiling."""
    other = "" if claim.of_batch else "; of several requests together it is another figure"
    if need <= _MOST_ACCEPTED:
        draft = f"a draft with {need:.3g} tokens accepted a step"
        return f"{draft}, or {need:.3g} times fewer bytes, would do{other}"
    return f"it needs {need:.3g} times fewer bytes or more bandwidth{other}"


def _ttft(claim: Claim, hardware: Hardware) -> Assessment:
    given = ttft_setting(claim, hardware)
    once = given.read_bytes / given.bandwidth
    each = roofline.prefill_seconds(given.parameters, 1, given.flops)
    lines = [
        f"a token: 2 x {given.parameters / 1e9:.3g}e9 / {given.flops / 1e12:.4g} TFLOP/s = {_ms(each)}",
        f"the weights once: {_gb(given.read_bytes)} / {gb_per_second(given.bandwidth)} = {_ms(once)}",
    ]
    if claim.high < once:
        lines.append(f"{_ms(claim.high)} is less than the weights take alone")
        return Assessment(claim, Verdict.IMPOSSIBLE, "only a stored answer is faster", tuple(lines), once)
    most = roofline.prefill_tokens(given.parameters, claim.high, given.flops)
    fewest = roofline.prefill_tokens(given.parameters, claim.low, given.flops)
    shorter = f"; within {_ms(claim.low)}: {fewest:.0f}" if claim.low != claim.high else ""
    lines.append(f"within {_ms(claim.high)}: {most:.0f} tokens{shorter}")
    if given.prompt_tokens is None or given.prompt_tokens > most:
        condition = f"no more than {most:.0f} tokens of the prompt are new to the prefix cache"
        return Assessment(claim, Verdict.ONLY_IF, condition, tuple(lines), once)
    return Assessment(claim, Verdict.POSSIBLE, "", tuple(lines), max(once, each * given.prompt_tokens))


def _sequences(claim: Claim, hardware: Hardware) -> Assessment:
    given = sequences_setting(claim, hardware)
    room = given.room
    share = room.usable_bytes / room.total_bytes
    terms = f"{gib(room.weight_bytes)} weights - {gib(room.other_bytes)} other"
    lines = [
        f"room: {gib(room.total_bytes)} x {share:.3g} - {terms} = {gib(room.kv_bytes)}",
        f"a token: {room.kv_bytes_per_token / 1024:.4g} KiB, so {room.tokens} tokens for all together",
    ]
    lines += [
        f"sequences of {length} tokens: {capacity.sequences(room, given.kv, length, kv_type=given.kv_type)}"
        for length in given.lengths
    ]
    count = round(claim.high)
    tokens = capacity.longest(room, given.kv, count, kv_type=given.kv_type) if room.fits else 0
    lines.append(f"each of {count}: at most {tokens} tokens, prompt and answer together")
    if tokens >= given.length:
        return Assessment(claim, Verdict.POSSIBLE, "", tuple(lines), None)
    if tokens < _LOOSE:
        return Assessment(claim, Verdict.IMPOSSIBLE, "the weights leave no room", tuple(lines), None)
    condition = f"none is longer than {tokens} tokens, where {given.length} are allowed"
    return Assessment(claim, Verdict.ONLY_IF, condition, tuple(lines), None)


def _hop(claim: Claim, _hardware: Hardware) -> Assessment:
    given = hop_setting(claim)
    found = network.hop(given.link, given.hidden)
    payload = given.hidden * network.ACTIVATION_BYTES
    least, expected = given.hops * found.least_seconds, given.hops * found.expected_seconds
    way = f"{payload / 1000:.4g} kB / {gb_per_second(given.link.bandwidth)}"
    lines = [
        f"a way: {way} + {1e6 * given.link.one_way_seconds:.0f} us = {_ms(found.least_seconds / 2)}",
        f"there and back, {given.hops} x: {_ms(least)} at least, {_ms(expected)} with usual software",
    ]
    if claim.high < least:
        return Assessment(claim, Verdict.IMPOSSIBLE, "the wire alone takes longer", tuple(lines), least)
    if claim.high < expected:
        left = _ms((claim.high - least) / given.hops)
        condition = f"software on both ends takes no more than {left} a round trip"
        return Assessment(claim, Verdict.ONLY_IF, condition, tuple(lines), least)
    return Assessment(claim, Verdict.POSSIBLE, "", tuple(lines), least)


_KINDS: Final[Mapping[str, Callable[[Claim, Hardware], Assessment]]] = {
    "decode": _decode,
    "ttft": _ttft,
    "sequences": _sequences,
    "hop": _hop,
}


def _gb(amount: float) -> str:
    return f"{amount / GB:.4g} GB"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.4g} ms"


__all__ = ["Assessment", "Claim", "ClaimError", "Verdict", "assess"]
