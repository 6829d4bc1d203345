"""Reads the devices and claims that are shipped, and a person's file of claims, each bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiidpd.physics.claim_text import ClaimError, Claims, parse_claims
from aiidpd.physics.hardware import Hardware, parse_hardware

_HARDWARE: Final = Path(__file__).resolve().parents[2] / "physics/hardware.toml"
_SHIPPED: Final = Path(__file__).resolve().parent / "claims.toml"
LIMIT_BYTES: Final = 256 * 1024


def read_hardware() -> Hardware:
    """Return the devices that the package knows. Blocks."""
    return parse_hardware(_HARDWARE.read_text(encoding="utf-8"))


def read_shipped_claims() -> Claims:
    """Return the claims that the package brings. Blocks."""
    return read_claims(_SHIPPED)


def read_claims(path: Path) -> Claims:
    """Return the claims of a file; raises :class:`ClaimError` and :class:`OSError`. Blocks."""
    with path.open("rb") as file:
        data = file.read(LIMIT_BYTES + 1)
    if len(data) > LIMIT_BYTES:
        raise ClaimError(f"it is larger than {LIMIT_BYTES // 1024} KiB")
    try:
        return parse_claims(data.decode())
    except UnicodeDecodeError:
        raise ClaimError("it is no text") from None
