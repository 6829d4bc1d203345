"""Signers of the configuration, as the process that verifies gets them."""

from __future__ import annotations

from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.signatures import Signer, SignerKind


def trusted(settings: ModelsSettings) -> tuple[Signer, ...]:
    """Return the signers of ``settings``."""
    return tuple(
        Signer(
            each.name,
            SignerKind(each.kind),
            str(each.public_key or ""),
            tuple(map(str, each.certificates)),
            each.identity,
            each.issuer,
            str(each.trust_config or ""),
            each.models,
        )
        for each in settings.signers
    )
