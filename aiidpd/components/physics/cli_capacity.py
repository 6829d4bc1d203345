"""``aiidpctl physics capacity``: how many sequences of which length fit beside the weights."""

from __future__ import annotations

import argparse
from typing import Final

from aiidpd.cli.session import DONE, Session
from aiidpd.components.physics.catalog import read_hardware
from aiidpd.components.physics.cli_text import capacity_lines
from aiidpd.components.physics.given import BadInput, given_device, given_model
from aiidpd.physics import capacity

_LENGTHS: Final = (2048, 4096, 8192, 16384, 32768)


def run(options: argparse.Namespace, session: Session) -> int:
    """Write what fits; raises :class:`BadInput`."""
    hardware = read_hardware()
    model = given_model(options)
    kv = model.shape.kv
    if kv is None:
        raise BadInput("what keys and values take is not known: give --layers, --kv-heads and --head-length")
    given = given_device(options, session, hardware, enough=options.memory)
    memory = options.memory or given.memory or (given.device.memory if given.device else None)
    if memory is None:
        raise BadInput("the memory is not known: give --memory such as 16GiB")
    weights = model.shape.weight_bytes
    block = capacity.BLOCK_TOKENS
    if options.engine == "vllm" and (options.offload_layers is not None or options.compute_buffer):
        raise BadInput("--offload-layers and --compute-buffer are of llama.cpp: add --engine llama.cpp")
    try:
        if options.engine == "vllm":
            room = capacity.vllm(
                memory,
                weights,
                kv,
                utilization=options.utilization,
                non_torch=options.non_torch or capacity.NON_TORCH_BYTES,
                activations=options.activations or capacity.ACTIVATION_BYTES,
                kv_type=options.kv_type,
            )
        else:
            block = 1
            if options.offload_layers is not None:
                weights *= options.offload_layers / len(kv.kv_heads)
                kv = kv.of_blocks(options.offload_layers)
            room = capacity.llamacpp(
                memory,
                weights,
                kv,
                compute_buffer=options.compute_buffer or capacity.COMPUTE_BUFFER_BYTES,
                kv_type=options.kv_type,
            )
        lengths = options.length or _LENGTHS
        fits = {
            length: capacity.sequences(room, kv, length, kv_type=options.kv_type, block=block)
            for length in lengths
        }
        longest = (
            capacity.longest(room, kv, options.sequences, kv_type=options.kv_type, block=block)
            if options.sequences is not None
            else None
        )
    except ValueError as error:
        raise BadInput(str(error)) from None
    document = {
        "engine": options.engine,
        "device": given.device.name if given.device else None,
        "total_bytes": room.total_bytes,
        "usable_bytes": room.usable_bytes,
        "weight_bytes": room.weight_bytes,
        "other_bytes": room.other_bytes,
        "kv_bytes": room.kv_bytes,
        "kv_bytes_per_token": room.kv_bytes_per_token,
        "kv_tokens": room.tokens,
        "fits": room.fits,
        "sequences": {str(length): count for length, count in fits.items()},
        "longest": longest,
        "notes": [*([given.note] if given.note else []), *model.notes],
    }
    if session.json:
        session.document(document)
    else:
        session.data(capacity_lines(document, options.sequences, session.paint))
    return DONE
