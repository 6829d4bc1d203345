"""Check of a model's signature against the configured signers. Blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from aiidpd.components.models import openssf
from aiidpd.components.models.covered import Different, Unreadable, measure
from aiidpd.components.models.record import HashRecord
from aiidpd.components.models.scanned import ScannedModel, shown
from aiidpd.components.models.signatures import (
    SignatureRecord,
    SignatureState,
    Signer,
    SignerKind,
    trust_of,
)
from aiidpd.components.models.signed import Read, read_signature
from aiidpd.formats.signature import Bundle

_MOST_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class SignatureWanted:
    """Model whose signature is to be checked, and the signers whose signature of it counts."""

    model: ScannedModel
    signers: tuple[Signer, ...]


def check_signature(
    wanted: SignatureWanted,
    read: Mapping[str, HashRecord],
    step: Callable[[int], None],
    time: Callable[[], float],
) -> SignatureRecord | None:
    """Return what is found of the signature of a model; None where there is none.

    ``read`` are files that were read whole just now, by their paths: those are not read again where their
    SHA-256 is what was signed. ``step`` is called with the size of each piece that is read.
    """
    found = read_signature(wanted.model)
    if found is None:
        return None
    if found.bundle is None:
        state, signer, reason = SignatureState.INVALID, "", found.found.problem
    else:
        state, signer, reason = _tried(found, found.bundle, wanted.signers, read, step)
    trust = trust_of(wanted.signers)
    stamp = found.found.stamp
    return SignatureRecord(state, wanted.model.fingerprint, stamp, trust, time(), signer, shown(reason))


def _tried(
    found: Read,
    bundle: Bundle,
    signers: tuple[Signer, ...],
    read: Mapping[str, HashRecord],
    step: Callable[[int], None],
) -> tuple[SignatureState, str, str]:
    """Return the state, the signer and the reason that the first signer gives who made the signature."""
    usable = [each for each in signers if each.kind.value == bundle.method.value]
    if not usable:
        reason = f"it is signed by {bundle.method.value}, and models.signers has no such signer for it"
        return SignatureState.NOT_TRUSTED, "", reason
    reasons: list[str] = []
    offline = unchecked = ""
    for signer in usable:
        fetches = signer.kind is SignerKind.SIGSTORE and not signer.trust_config
        if fetches and offline:
            continue
        try:
            openssf.verify(
                signer,
                found.data,
                bundle,
                found.place.root,
                lambda: measure(found.place, bundle.statement, read, step),
            )
        except openssf.Untrusted as error:
            reasons.append(f"{signer.name}: {error}")
        except openssf.Unchecked as error:
            unchecked = unchecked or str(error)
            offline = str(error) if fetches else offline
        except Unreadable as error:
            return SignatureState.NOT_CHECKED, signer.name, str(error)
        except (openssf.Broken, Different) as error:
            return SignatureState.INVALID, signer.name, str(error)
        else:
            return SignatureState.VALID, signer.name, ""
    if unchecked:
        return SignatureState.NOT_CHECKED, "", unchecked
    return SignatureState.NOT_TRUSTED, "", "; ".join(reasons[:_MOST_NAMED])
