"""Who is trusted for which model, what holds until when, and what a job says of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from aiidpd.components.models.outcome import Outcome, failures, result_of
from aiidpd.components.models.scanned import FileStamp, FoundSignature
from aiidpd.components.models.signatures import (
    SignatureRecord,
    SignatureState,
    Signer,
    SignerKind,
    is_current,
    is_required,
    is_wrong,
    signers_for,
    trust_of,
)
from tests.unit.components.models.site import made_up

MODEL = made_up("owner/model", "/srv/models/owner/model/a.safetensors", "/srv/models/owner/model/b")
STAMP = FileStamp(1, 2, 3)
SIGNED = replace(MODEL, signature=FoundSignature("/x/model.sig", STAMP))
VALID, INVALID = SignatureState.VALID, SignatureState.INVALID


def signer(*models: str, name: str = "a") -> Signer:
    return Signer(name, SignerKind.KEY, public_key="/a.pem", models=models)


@pytest.mark.parametrize("named", ["owner/model", "owner/*", "*", "/srv/models", "/srv/models/owner/model/"])
def test_a_signer_of_this_model(named: str) -> None:
    assert signers_for([signer(named)], MODEL) == (signer(named),)
    assert is_required([signer(named)], MODEL)


@pytest.mark.parametrize("named", ["owner", "Owner/*", "/srv/mod", "/srv/models/owner/model/b", "/x"])
def test_a_signer_of_others(named: str) -> None:
    assert signers_for([signer(named)], MODEL) == ()
    assert not is_required([signer(named)], MODEL)


def test_a_signer_of_all_models_wants_none_to_be_signed() -> None:
    assert signers_for([signer()], MODEL) == (signer(),)
    assert not is_required([signer()], MODEL)


def test_what_was_found_holds_until_model_signature_or_signers_change() -> None:
    trust = trust_of([signer()])
    record = SignatureRecord(VALID, SIGNED.fingerprint, STAMP, trust, 1.0)
    assert is_current(record, SIGNED, trust)
    assert not is_current(record, MODEL, trust)
    assert not is_current(record, replace(SIGNED, fingerprint="other"), trust)
    moved = replace(SIGNED, signature=FoundSignature("/x/model.sig", FileStamp(1, 2, 4)))
    assert not is_current(record, moved, trust)
    assert not is_current(record, SIGNED, trust_of([signer("x")]))
    assert not is_current(record, SIGNED, trust_of([]))
    assert trust_of([signer("x"), signer()]) == trust_of([signer(), signer("x")])


def test_a_mismatch_holds_until_it_is_verified_again() -> None:
    record = SignatureRecord(INVALID, "other", FileStamp(0, 0, 0), "other", 1.0)
    assert is_current(record, SIGNED, trust_of([]))
    assert not is_current(record, MODEL, trust_of([]))


def test_what_is_wrong() -> None:
    found = {
        (state.value, each)
        for state in SignatureState
        for each in (True, False)
        if is_wrong(state, required=each)
    }
    assert found == {("invalid", True), ("invalid", False), ("none", True), ("not_trusted", True)}


def outcome(state: SignatureState, reason: str = "", *, required: bool = False, label: str = "m") -> Outcome:
    record = SignatureRecord(state, "", None, "", 1.0, "vendor" if state is VALID else "", reason)
    return Outcome(label, None if state is SignatureState.NONE else record, required)


def test_a_job_says_what_was_found() -> None:
    assert result_of([]) == {}
    assert result_of([outcome(SignatureState.NONE)]) == {}
    assert result_of([outcome(VALID)]) == {"signature": "the signature is valid, by vendor"}
    assert result_of([outcome(SignatureState.NOT_CHECKED, "why")]) == {
        "signature": "the signature can't be verified here: why"
    }
    several = [outcome(VALID), outcome(VALID), outcome(INVALID), outcome(SignatureState.NONE)]
    assert result_of(several) == {"signatures_invalid": 1, "signatures_valid": 2}


def test_a_job_fails_by_what_is_wrong_and_by_whatever_was_demanded() -> None:
    for state in SignatureState:
        each = outcome(state, "why")
        assert bool(failures([each], demanded=True)) is (state is not VALID)
        assert bool(failures([each], demanded=False)) is (state is INVALID)
    assert failures([outcome(SignatureState.NONE, required=True)], demanded=False) == (
        "m: not signed, and models.signers wants one"
    )
    unchecked = outcome(SignatureState.NOT_CHECKED, "why", required=True)
    assert failures([unchecked], demanded=False) == "m: the signature can't be verified here: why"
    many = [outcome(INVALID, "why", label=f"m{each}") for each in range(8)]
    assert failures(many, demanded=False).endswith("m4: the signature is invalid: why; and 3 more")
