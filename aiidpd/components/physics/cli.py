"""``aiidpctl physics``: limits and expected speeds, what fits, and claims held against them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NoReturn

from aiidpd.api.client import ControlError
from aiidpd.cli.arguments import argument
from aiidpd.cli.session import DONE, USAGE, Session
from aiidpd.components.physics import cli_capacity, cli_claims, cli_estimate
from aiidpd.components.physics.catalog import read_hardware
from aiidpd.components.physics.cli_text import device_lines
from aiidpd.components.physics.given import LIST, BadInput
from aiidpd.physics.kv_cache import KV_TYPES
from aiidpd.physics.network import LINKS
from aiidpd.physics.units import parse_bytes, parse_rate

_SIZE: Final = argument(parse_bytes)
_RATE: Final = argument(parse_rate)
_LARGEST: Final = 10**9
_MOST_GPUS: Final = 1024


def add(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    """Give ``parser`` its commands, each with the ``common`` options."""
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    one = commands.add_parser(
        "estimate", parents=[common], help="how fast a model can decode on a GPU at most, and what to expect"
    )
    _add_model(one)
    _add_estimate(one)
    one.set_defaults(run=_guarded(cli_estimate.run))
    one = commands.add_parser("capacity", parents=[common], help="what fits beside the weights")
    _add_model(one)
    _add_capacity(one)
    one.set_defaults(run=_guarded(cli_capacity.run))
    one = commands.add_parser(
        "claims", parents=[common], help="claims of speed: possible, impossible, or possible only if"
    )
    one.add_argument(
        "--file",
        metavar="PATH",
        action="append",
        default=[],
        help="claims of your own, beside the shipped ones (also /etc/aiidpd/claims.toml where it is there)",
    )
    one.set_defaults(run=_guarded(cli_claims.run))


def _add_model(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a model and a device."""
    parser.add_argument("--model", metavar="PATH", help="a model file or folder: its headers are read")
    parser.add_argument(
        "--weights",
        metavar="SIZE",
        type=_SIZE,
        help="bytes of its weights, as 4.58GiB or 8GB",
    )
    parser.add_argument("--layers", metavar="N", type=_whole, help="how many layers it has")
    parser.add_argument(
        "--gpu",
        metavar="NAME",
        help=f"the GPU, as 'RTX 4090', or {LIST!r} for all; without it, that of this machine",
    )
    parser.add_argument(
        "--kv-type",
        choices=sorted(KV_TYPES),
        default="f16",
        metavar="TYPE",
        help="type of keys and values: f16",
    )


def _add_estimate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bandwidth", metavar="RATE", type=_RATE, help="of the GPU's memory, as 448GB/s")
    parser.add_argument("--parameters", metavar="N", type=_number, help="that work on a token, as 8.03e9")
    parser.add_argument(
        "--precision", default="fp16", choices=("fp32", "fp16", "fp8", "int8", "fp4"), help="fp16"
    )
    parser.add_argument("--batch", metavar="N", type=_whole, default=1, help="requests at once")
    parser.add_argument("--context", metavar="N", type=_whole, default=0, help="tokens that each has before")
    parser.add_argument("--prompt", metavar="N", type=_whole, help="tokens of a prompt that no cache has")
    parser.add_argument(
        "--draft-accepted",
        metavar="N",
        type=_number,
        default=1.0,
        help="tokens that a step yields on average where speculative decoding is on",
    )
    parser.add_argument(
        "--calibrate",
        metavar="WHAT=SPEED",
        action="append",
        default=[],
        help="speed of another model measured on this GPU, as 14.96GiB=54.3 or model.gguf=54.3",
    )
    parser.add_argument(
        "--offload-layers", metavar="N", type=_whole, help="layers on the GPU, the rest in RAM"
    )
    parser.add_argument(
        "--ram-bandwidth",
        metavar="RATE",
        type=_RATE,
        help="of the RAM, as 102.4GB/s; measured where left out",
    )
    parser.add_argument(
        "--rpc", metavar="LINK[xN]", help=f"hops to other machines for each token; links: {', '.join(LINKS)}"
    )
    parser.add_argument(
        "--hidden", metavar="N", type=_whole, help="width of hidden states, for --rpc, --gpus"
    )
    parser.add_argument(
        "--gpus", metavar="N", type=_count, default=1, help="that share each layer (tensor parallel)"
    )
    parser.add_argument(
        "--gpu-link", metavar="LINK", choices=sorted(LINKS), default="pcie4-x16", help="of those: pcie4-x16"
    )


def _add_capacity(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--memory", metavar="SIZE", type=_SIZE, help="of the GPU, as 16GiB")
    parser.add_argument("--kv-heads", metavar="N", type=_whole, help="KV heads of a layer")
    parser.add_argument("--head-length", metavar="N", type=_whole, help="width of a head")
    parser.add_argument(
        "--engine", choices=("vllm", "llama.cpp"), default="vllm", help="whose arithmetic: vllm"
    )
    parser.add_argument(
        "--utilization",
        metavar="SHARE",
        type=_number,
        default=0.9,
        help="gpu_memory_utilization of vLLM: 0.9",
    )
    parser.add_argument(
        "--non-torch",
        metavar="SIZE",
        type=_SIZE,
        help="as vLLM logs it; without it, what is usual",
    )
    parser.add_argument("--activations", metavar="SIZE", type=_SIZE, help="peak, as vLLM logs it; else usual")
    parser.add_argument(
        "--compute-buffer", metavar="SIZE", type=_SIZE, help="of llama.cpp, as it logs it; else usual"
    )
    parser.add_argument(
        "--offload-layers", metavar="N", type=_whole, help="of llama.cpp: layers on the GPU, the rest in RAM"
    )
    parser.add_argument(
        "--length", metavar="N", type=_whole, action="append", default=[], help="tokens of a sequence"
    )
    parser.add_argument("--sequences", metavar="N", type=_whole, help="how long each of so many may be")


def _guarded(
    run: Callable[[argparse.Namespace, Session], int],
) -> Callable[[argparse.Namespace, Session], int]:
    """Return ``run`` with what a person gave wrongly told as one line."""

    def guarded(options: argparse.Namespace, session: Session) -> int:
        try:
            if getattr(options, "gpu", None) == LIST:
                return _list_devices(session)
            return run(options, session)
        except BadInput as error:
            _refuse(str(error))

    return guarded


def _list_devices(session: Session) -> int:
    devices = read_hardware().devices
    if session.json:
        rows = [
            {
                "name": each.name,
                "bandwidth_bytes_per_second": each.bandwidth,
                "memory_bytes": each.memory,
                "source": each.source,
            }
            for each in devices
        ]
        session.document({"devices": rows})
    else:
        session.data(device_lines(devices, session.paint))
    return DONE


class _Refused(ControlError):
    """An estimate that can't be made of what was given."""

    exit_code = USAGE


def _refuse(words: str) -> NoReturn:
    raise _Refused(words) from None


def _whole(text: str) -> int:
    if not (
        text.isascii() and text.isdigit() and int(text[:12]) <= _LARGEST and len(text) <= len(str(_LARGEST))
    ):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number up to {_LARGEST}")
    return int(text)


def _count(text: str) -> int:
    number = _whole(text)
    if not 1 <= number <= _MOST_GPUS:
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to {_MOST_GPUS}")
    return number


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e15:  # noqa: PLR2004 -- nothing here is larger
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number above 0")
    return value
