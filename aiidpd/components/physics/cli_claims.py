"""``aiidpctl physics claims``: what physics says of claims of speed, and what this machine measured."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from aiidpd.api.client import ControlError
from aiidpd.cli.session import DONE, Session
from aiidpd.components.physics.catalog import read_claims, read_hardware, read_shipped_claims
from aiidpd.components.physics.cli_text import claims_lines
from aiidpd.components.physics.given import BadInput
from aiidpd.physics.claim_text import Claim, ClaimError, Claims
from aiidpd.physics.claims import Assessment, assess

OWN: Final = Path("/etc/aiidpd/claims.toml")
_SAMPLES: Final = {"decode": "output_tokens_per_second", "ttft": "ttft_seconds"}


def run(options: argparse.Namespace, session: Session) -> int:
    """Write the verdict on each claim; raises :class:`BadInput`."""
    hardware = read_hardware()
    files = [read_shipped_claims(), *_own(options.file)]
    measured = _measured(session)
    try:
        claims = [_document(assess(claim, hardware), measured) for each in files for claim in each.claims]
    except ClaimError as error:
        raise BadInput(f"cannot assess a claim: {error}") from None
    slips = [
        {"said": slip.said, "really": slip.really, "arithmetic": slip.arithmetic}
        for each in files
        for slip in each.slips
    ]
    document = {"claims": claims, "slips": slips}
    if session.json:
        session.document(document)
    else:
        session.data(claims_lines(document, session.paint))
    return DONE


def _own(named: list[str]) -> Iterator[Claims]:
    """Yield the claims of the files that a person names, and of the usual one where it is there."""
    for path in map(Path, named) if named else [OWN]:
        try:
            yield read_claims(path)
        except FileNotFoundError:
            if named:
                raise BadInput(f"cannot read {path}: there is no such file") from None
        except OSError as error:
            raise BadInput(f"cannot read {path}: {(error.strerror or 'error').lower()}") from None
        except ClaimError as error:
            raise BadInput(f"cannot read {path}: {error}") from None


def _measured(session: Session) -> list[dict[str, Any]]:
    """Return the last measurement of each endpoint, none where no daemon answers."""
    try:
        document = session.client.get("/v1/bench/results")
    except ControlError:
        return []
    return [each for each in document["endpoints"] if each["sample"] is not None]


def _document(found: Assessment, measured: list[dict[str, Any]]) -> dict[str, Any]:
    claim = found.claim
    return {
        "name": claim.name,
        "text": claim.text,
        "figure": claim.figure,
        "of": "batch" if claim.of_batch else "request",
        "low": claim.low,
        "high": claim.high,
        "source": claim.source,
        "corrects": claim.corrects,
        "verdict": found.verdict.value,
        "condition": found.condition,
        "limit": found.limit,
        "arithmetic": list(found.arithmetic),
        "measured": list(_of_claim(claim, measured)),
    }


def _of_claim(claim: Claim, measured: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what was measured of the figure of ``claim``: of one request, as probes are."""
    key = _SAMPLES.get(claim.figure)
    if key is None or claim.of_batch:
        return
    for each in measured:
        value = each["sample"].get(key)
        if value is not None and claim.endpoint in ("", each["name"]):
            yield {
                "endpoint": each["name"],
                "model": each["model"],
                "value": value,
                "measured_at": each["measured_at"],
                "simulated": each["simulated"],
            }
