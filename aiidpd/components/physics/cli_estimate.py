"""``aiidpctl physics estimate``: ceiling and expected speed of a model on a GPU."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from aiidpd.cli.session import DONE, Session
from aiidpd.components.physics.catalog import read_hardware
from aiidpd.components.physics.cli_text import estimate_lines
from aiidpd.components.physics.estimate import Setting, estimate
from aiidpd.components.physics.given import BadInput, given_device, given_model
from aiidpd.components.physics.model_files import NoShape, read_model
from aiidpd.physics.efficiency import GENERAL, Measured, calibrated
from aiidpd.physics.network import LINKS, Link
from aiidpd.physics.units import NotAQuantity, gb_per_second, gib, parse_bytes
from aiidpd.platform import ram_bandwidth

_HOPS: Final = re.compile(r"(.+?)(?:[x:*](\d{1,3}))?", re.ASCII)
_CALIBRATION: Final = re.compile(r"(.+?)[=:@,]\s*([\d.eE+]{1,20})\s*(?:tok/s)?", re.DOTALL)


def run(options: argparse.Namespace, session: Session) -> int:
    """Write the estimate; raises :class:`BadInput`."""
    hardware = read_hardware()
    model = given_model(options)
    given = given_device(options, session, hardware, enough=options.bandwidth)
    device = given.device
    bandwidth = options.bandwidth or (device.bandwidth if device else None)
    if bandwidth is None:
        raise BadInput("the bandwidth is not known: give --gpu NAME or --bandwidth such as 448GB/s")
    notes = [*model.notes, *([given.note] if given.note else [])]
    if options.model is None:
        notes.append(
            "a file's size counts embeddings of which a token reads one row: that leaves a little room"
        )
    if device is not None and device.memory is not None and options.offload_layers is None:
        notes += _too_large(model.shape.weight_bytes, device.memory * options.gpus)
    efficiency = hardware.efficiency(device) if device else GENERAL
    measured = [_measured(each) for each in options.calibrate]
    link, hops = _hops(options.rpc)
    try:
        setting = Setting(
            model=model.shape,
            bandwidth=bandwidth,
            efficiency=calibrated(efficiency, measured, bandwidth),
            batch=options.batch,
            context=options.context,
            kv_type=options.kv_type,
            flops=device.flops_at(options.precision) if device else None,
            draft_accepted=options.draft_accepted,
            layers=options.layers,
            offload_layers=options.offload_layers,
            ram_bandwidth=_ram(options, notes),
            link=link,
            hops=hops,
            hidden=options.hidden or model.hidden,
            gpus=options.gpus,
            gpu_link=LINKS[options.gpu_link],
            prompt_tokens=options.prompt,
        )
        found = estimate(setting)
    except ValueError as error:
        raise BadInput(str(error)) from None
    document = {
        **{figure.key: figure.value for figure in found.figures},
        "device": device.name if device else None,
        "device_source": device.source if device else None,
        "bandwidth_bytes_per_second": bandwidth,
        "read_bytes": model.shape.bytes_read(options.batch),
        "weight_bytes": model.shape.weight_bytes,
        "batch": options.batch,
        "context": options.context,
        "ram_bandwidth_bytes_per_second": setting.ram_bandwidth,
        "formulas": {
            figure.key: {"formula": figure.formula, "arithmetic": figure.arithmetic}
            for figure in found.figures
        },
        "notes": [*notes, *found.notes],
    }
    if session.json:
        session.document(document)
    else:
        session.data(estimate_lines(found, device, bandwidth, notes, session.paint))
    return DONE


def _too_large(weights: float, memory_bytes: float) -> list[str]:
    """Return the note that weights do not fit into a memory, if they do not."""
    if weights <= memory_bytes:
        return []
    return [f"the weights do not fit: {gib(weights)} into {gib(memory_bytes)}; see --offload-layers"]


def _ram(options: argparse.Namespace, notes: list[str]) -> float | None:
    """Return the bandwidth of the RAM, measured where it is needed and not given."""
    if options.offload_layers is None or options.ram_bandwidth is not None:
        return options.ram_bandwidth  # type: ignore[no-any-return]  # argparse gives what its type returns
    try:
        found = ram_bandwidth.measure()
    except ram_bandwidth.NotMeasured as error:
        raise BadInput(f"cannot measure the RAM: {error}: give --ram-bandwidth") from None
    by = f"{found.threads} threads ({ram_bandwidth.METHOD})"
    notes.append(f"RAM, now: {gb_per_second(found.bytes_per_second)} by {by}")
    return found.bytes_per_second


def _measured(text: str) -> Measured:
    """Return the model and speed of ``14.96GiB=54.3`` or ``model.gguf=54.3``."""
    match = _CALIBRATION.fullmatch(text.strip())
    try:
        speed = float(match[2]) if match else 0.0
    except ValueError:
        speed = 0.0
    if match is None or not 0 < speed < 1e9:  # noqa: PLR2004 -- tokens a second of no machine
        raise BadInput(
            f"--calibrate {text[:60]!r} is no size or model with its speed, as 14.96GiB=54.3 is one"
        )
    what = match[1].strip()
    try:
        return Measured(parse_bytes(what), speed)
    except NotAQuantity:
        pass
    try:
        shape = read_model(Path(what)).shape
    except NoShape as error:
        raise BadInput(f"--calibrate: {error}") from None
    return Measured(shape.bytes_read(1), speed, shape.block_count)


def _hops(text: str | None) -> tuple[Link | None, int]:
    if text is None:
        return None, 1
    name, count = text.strip().lower(), 1
    if name not in LINKS and (match := _HOPS.fullmatch(name)) is not None:
        name, count = match[1], int(match[2] or 1)
    if name not in LINKS or count < 1:
        raise BadInput(f"--rpc {text[:40]!r} is no link: {', '.join(LINKS)}, and x2 after it for two hops")
    return LINKS[name], count
