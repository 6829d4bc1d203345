"""Claims on endpoints of this machine, as other components may compare them with what they measure (pure)."""

from __future__ import annotations

from collections.abc import Iterator

from aiidpd.contracts.claims import ClaimBounds, ClaimedFigure
from aiidpd.physics.claim_text import Claims
from aiidpd.physics.claims import ClaimError, assess
from aiidpd.physics.hardware import Hardware


def bounds_of(claims: Claims, hardware: Hardware) -> tuple[ClaimBounds, ...]:
    """Return the claims that name an endpoint; one without a setting that says enough has no limit."""
    return tuple(_bounds(claims, hardware))


def _bounds(claims: Claims, hardware: Hardware) -> Iterator[ClaimBounds]:
    for claim in claims.claims:
        if not claim.endpoint:
            continue
        try:
            limit = assess(claim, hardware).limit
        except ClaimError:
            limit = None
        yield ClaimBounds(
            name=claim.name,
            text=claim.text,
            figure=ClaimedFigure(claim.figure),
            endpoint=claim.endpoint,
            of_batch=claim.of_batch,
            low=claim.low,
            high=claim.high,
            limit=limit,
        )
