"""Estimate of one model on one machine: every figure with the formula that it comes from (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from aiidpd.physics import network, offload, roofline, speculative
from aiidpd.physics.efficiency import GENERAL, Efficiency
from aiidpd.physics.model_shape import ModelShape
from aiidpd.physics.units import GB, gb_per_second


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Model, memory and circumstances of an estimate; None is what was not given.

    ``offload_layers`` of ``layers`` are on the GPU, the rest is read from RAM at ``ram_bandwidth``. ``hops``
    go over ``link`` with hidden states of ``hidden`` numbers. ``gpus`` share each layer over ``gpu_link``.
    """

    model: ModelShape
    bandwidth: float
    efficiency: Efficiency = GENERAL
    batch: int = 1
    context: int = 0
    kv_type: str = "f16"
    flops: float | None = None
    draft_accepted: float = 1.0
    layers: int | None = None
    offload_layers: int | None = None
    ram_bandwidth: float | None = None
    link: network.Link | None = None
    hops: int = 1
    hidden: int | None = None
    gpus: int = 1
    gpu_link: network.Link = network.LINKS["pcie4-x16"]
    prompt_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: its key in JSON, words, value with unit, formula, and the formula with its numbers."""

    key: str
    label: str
    value: float
    unit: str
    formula: str
    arithmetic: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """Figures in the order in which people read them; ``notes`` say what they leave out."""

    figures: tuple[Figure, ...]
    notes: tuple[str, ...] = field(default=())


def estimate(setting: Setting) -> Estimate:
    """Return the figures of ``setting``; raises ValueError where it contradicts itself."""
    if setting.draft_accepted < 1:
        raise ValueError("a step yields a token at least: --draft-accepted is 1 or more")
    if setting.batch < 1 or setting.context < 0:
        raise ValueError("a batch is of 1 or more, and a context of 0 tokens or more")
    figures = [*_decode(setting), *_prefill(setting), *_stored(setting)]
    return Estimate(tuple(figures), tuple(_notes(setting)))


@dataclass(frozen=True, slots=True)
class _Times:
    """Seconds of a step: least and expected, each with its arithmetic; the formulas are the same."""

    least: float
    expected: float
    formula: str
    arithmetic: str
    expected_formula: str
    expected_arithmetic: str


def _decode(setting: Setting) -> Iterator[Figure]:
    times = _times(setting)
    accepted = setting.draft_accepted
    draft = "" if accepted == 1 else f" x {accepted:g}"
    by_draft = "" if accepted == 1 else " x tokens accepted a step"
    single = speculative.ceiling(1 / times.least, accepted)
    expected = speculative.ceiling(1 / times.expected, accepted)
    yield Figure(
        "decode_ceiling_tok_s",
        "one request, at most",
        single,
        "tok/s",
        f"1 / ({times.formula}){by_draft}",
        f"1 / ({times.arithmetic}){draft}",
    )
    yield Figure(
        "decode_expected_tok_s",
        "one request, expected",
        expected,
        "tok/s",
        f"1 / ({times.expected_formula}){by_draft}",
        f"1 / ({times.expected_arithmetic}){draft}",
    )
    if setting.batch == 1:
        return
    for key, label, value in (
        ("batch_ceiling_tok_s", f"{setting.batch} requests together, at most", single),
        ("batch_expected_tok_s", f"{setting.batch} requests together, expected", expected),
    ):
        yield Figure(
            key,
            label,
            value * setting.batch,
            "tok/s",
            "requests x speed of one",
            f"{setting.batch} x {value:.4g}",
        )
    if setting.model.is_mixture:
        agreeing = _times(replace(setting, model=setting.model.with_the_same_experts()))
        yield Figure(
            "batch_ceiling_same_experts_tok_s",
            "if all chose the same experts",
            setting.batch * speculative.ceiling(1 / agreeing.least, accepted),
            "tok/s",
            f"requests / ({agreeing.formula}){by_draft}",
            f"{setting.batch} / ({agreeing.arithmetic}){draft}",
        )


def _times(setting: Setting) -> _Times:
    step = roofline.decode(
        setting.model,
        setting.bandwidth,
        setting.efficiency,
        batch=setting.batch,
        context=setting.context,
        kv_type=setting.kv_type,
        flops=setting.flops,
    )
    read = step.weight_bytes + step.kv_bytes
    overhead = setting.efficiency.overhead(step.weight_bytes, setting.model.block_count)
    if setting.gpus > 1:
        times = _shared(setting, read, overhead)
    elif setting.offload_layers is not None:
        times = _hybrid(setting, read, overhead)
    elif step.bound == "compute":
        flops = setting.flops or 1.0
        work = f"{setting.batch} x 2 x {(setting.model.active_parameters or 0) / 1e9:.4g}e9"
        times = _Times(
            step.least_seconds,
            step.expected_seconds,
            "requests x 2 x parameters / compute",
            f"{work} / {flops / 1e12:.4g} TFLOP/s",
            "the same + overhead",
            f"{work} / {flops / 1e12:.4g} TFLOP/s + {_ms(overhead)}",
        )
    else:
        reached = setting.efficiency.bandwidth(setting.bandwidth)
        times = _Times(
            step.least_seconds,
            step.expected_seconds,
            "bytes read / bandwidth",
            f"{_gb(read)} / {gb_per_second(setting.bandwidth)}",
            "bytes read / bandwidth reached + overhead",
            f"{_gb(read)} / {gb_per_second(reached)} + {_ms(overhead)}",
        )
    return _with_hops(setting, times)


def _shared(setting: Setting, read: float, overhead: float) -> _Times:
    if setting.offload_layers is not None:
        raise ValueError("layers in RAM are not shared by GPUs: give --gpus or --offload-layers")
    blocks = setting.layers or setting.model.block_count
    if blocks is None or setting.hidden is None:
        raise ValueError("what GPUs send each other is not known: give --layers and --hidden")
    sums = network.tensor_parallel_sums(
        setting.gpu_link, setting.gpus, hidden=setting.hidden, blocks=blocks, batch=setting.batch
    )
    each = read / setting.gpus
    reached = setting.efficiency.bandwidth(setting.bandwidth)
    return _Times(
        each / setting.bandwidth + sums.least_seconds,
        each / reached + overhead + sums.expected_seconds,
        "bytes read / GPUs / bandwidth + sums",
        f"{_gb(read)} / {setting.gpus} / {gb_per_second(setting.bandwidth)} + {_ms(sums.least_seconds)}",
        "bytes read / GPUs / bandwidth reached + overhead + sums",
        f"{_gb(each)} / {gb_per_second(reached)} + {_ms(overhead)} + {_ms(sums.expected_seconds)}",
    )


def _hybrid(setting: Setting, read: float, overhead: float) -> _Times:
    layers = setting.layers or setting.model.block_count
    if layers is None:
        raise ValueError("how many layers there are is not known: give --layers")
    if setting.ram_bandwidth is None:
        raise ValueError("the bandwidth of the RAM is not known: give --ram-bandwidth")
    on_gpu = setting.offload_layers or 0
    split = offload.by_layers(read, layers, on_gpu, setting.bandwidth, setting.ram_bandwidth)
    reached = setting.efficiency.bandwidth(setting.bandwidth)
    from_ram = GENERAL.bandwidth(setting.ram_bandwidth)
    likely = offload.by_layers(read, layers, on_gpu, reached, from_ram)
    return _Times(
        split.seconds,
        likely.seconds + overhead,
        "bytes on the GPU / its bandwidth + bytes in RAM / its bandwidth",
        _split_text(split),
        "the same with the bandwidths reached + overhead",
        f"{_split_text(likely)} + {_ms(overhead)}",
    )


def _split_text(split: offload.Split) -> str:
    gpu = f"{_gb(split.gpu.read_bytes)} / {gb_per_second(split.gpu.bandwidth)}"
    return f"{gpu} + {_gb(split.cpu.read_bytes)} / {gb_per_second(split.cpu.bandwidth)}"


def _with_hops(setting: Setting, times: _Times) -> _Times:
    if setting.link is None:
        return times
    if setting.hidden is None:
        raise ValueError("the width of hidden states is not known: give --hidden")
    found = network.hop(setting.link, setting.hidden, setting.batch)
    name = f"{setting.hops} hop{'s' if setting.hops > 1 else ''}"
    return _Times(
        times.least + setting.hops * found.least_seconds,
        times.expected + setting.hops * found.expected_seconds,
        f"{times.formula} + hops",
        f"{times.arithmetic} + {name} of {_ms(found.least_seconds)}",
        f"{times.expected_formula} + hops",
        f"{times.expected_arithmetic} + {name} of {_ms(found.expected_seconds)}",
    )


def _prefill(setting: Setting) -> Iterator[Figure]:
    active, flops = setting.model.active_parameters, setting.flops
    if not active or not flops:
        return
    yield Figure(
        "prefill_ceiling_tok_s",
        "prompt, at most",
        roofline.prefill_tokens(active, 1.0, flops),
        "tok/s",
        "compute / (2 x parameters of a token)",
        f"{flops / 1e12:.4g} TFLOP/s / (2 x {active / 1e9:.4g}e9)",
    )
    if setting.prompt_tokens is not None:
        tokens = setting.prompt_tokens
        read = setting.model.bytes_read(tokens)
        yield Figure(
            "ttft_least_seconds",
            f"first token after {tokens}, at least",
            roofline.prefill_seconds(active, tokens, flops, read=read, bandwidth=setting.bandwidth),
            "s",
            "the longer of 2 x parameters x tokens / compute, and weights / bandwidth",
            f"2 x {active / 1e9:.4g}e9 x {tokens} / {flops / 1e12:.4g} TFLOP/s, "
            f"{_gb(read)} / {gb_per_second(setting.bandwidth)}",
        )


def _stored(setting: Setting) -> Iterator[Figure]:
    kv = setting.model.kv
    if kv is not None:
        yield Figure(
            "kv_bytes_per_token",
            "keys and values of a token",
            kv.bytes_per_token(setting.kv_type),
            "B",
            "numbers of all blocks x bytes of one",
            f"{kv.numbers_per_token:.0f} x {setting.kv_type}",
        )


def _notes(setting: Setting) -> Iterator[str]:
    model = setting.model
    if model.lookup_bytes:
        yield f"{_gb(model.lookup_bytes)} of embeddings are left out: a token reads one row of them"
    if model.is_mixture:
        read = model.bytes_read(setting.batch)
        yield (
            f"a step reads {_gb(read)} of {_gb(model.weight_bytes)}: {model.expert_used_count} of "
            f"{model.expert_count} experts work on a token"
            + (f", and {setting.batch} tokens choose theirs independently" if setting.batch > 1 else "")
        )
    if setting.draft_accepted > 1:
        yield "the draft's own time is left out"
    if setting.context and model.kv is None:
        yield "what keys and values take is not known, so the context is left out"
    yield f"expected speed: {setting.efficiency.source}"


def _gb(amount: float) -> str:
    return f"{amount / GB:.4g} GB"


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
