"""Outcome of checking signatures: result of the job, and the reason for which it fails (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from aiidpd.components.models.signatures import SignatureRecord, SignatureState, is_wrong

_MOST_NAMED: Final = 5
_WORDS: Final = {
    SignatureState.NONE: "not signed",
    SignatureState.UNVERIFIED: "not verified",
    SignatureState.VALID: "valid",
    SignatureState.INVALID: "invalid",
    SignatureState.NOT_TRUSTED: "signed by nobody who is trusted",
    SignatureState.NOT_CHECKED: "can't be verified here",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """Finding of the signature of the model with ``label``; ``record`` is None where it has none."""

    label: str
    record: SignatureRecord | None
    required: bool

    @property
    def state(self) -> SignatureState:
        """State of the signature."""
        return self.record.state if self.record is not None else SignatureState.NONE

    @property
    def signer(self) -> str:
        """Signer of the configuration that it is of, or should be; empty where not known."""
        return self.record.signer if self.record is not None else ""

    @property
    def wrong(self) -> bool:
        """True where it does not match, or is missing or not trusted where it is required."""
        return is_wrong(self.state, required=self.required)

    @property
    def sentence(self) -> str:
        """Finding, for people."""
        text = f"the signature is {_WORDS[self.state]}"
        if self.state in (SignatureState.NONE, SignatureState.NOT_TRUSTED):
            text = f"{_WORDS[self.state]}{', and models.signers wants one' if self.required else ''}"
        elif self.state is SignatureState.NOT_CHECKED:
            text = f"the signature {_WORDS[self.state]}"
        elif self.signer:
            text += f", by {self.signer}"
        reason = self.record.reason if self.record is not None else ""
        return f"{text}: {reason}" if reason else text


def result_of(outcomes: Sequence[Outcome]) -> dict[str, str | int]:
    """Return figures of a job: a sentence for one model, counts for several, none without signatures."""
    signed = [each for each in outcomes if each.record is not None or each.required]
    if not signed:
        return {}
    if len(outcomes) == 1:
        return {"signature": outcomes[0].sentence}
    counts = Counter(each.state for each in signed)
    return {f"signatures_{state.value}": count for state, count in sorted(counts.items())}


def failures(outcomes: Sequence[Outcome], *, demanded: bool) -> str:
    """Return why a job fails by signatures, an empty text where it does not.

    Where a valid one is ``demanded``, or required, each other state is a failure.
    """
    bad = [
        each
        for each in outcomes
        if each.wrong or ((demanded or each.required) and each.state is not SignatureState.VALID)
    ]
    named = "; ".join(f"{each.label}: {each.sentence}" for each in bad[:_MOST_NAMED])
    return f"{named}; and {len(bad) - _MOST_NAMED} more" if len(bad) > _MOST_NAMED else named
