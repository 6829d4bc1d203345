"""The table [models]: what can't hold together, who is trusted, and the secret that is shown nowhere."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from aiidpd.components.models.settings import MOST_SIGNERS, ModelsSettings
from aiidpd.components.models.signatures import Signer, SignerKind
from aiidpd.components.models.trust import trusted

TOKEN = "hf_secret"


def test_a_token_is_not_sent_in_the_clear_to_another_machine() -> None:
    for endpoint in ("https://mirror.example", "http://127.0.0.1:80", "http://[::1]:80", "http://localhost"):
        settings = ModelsSettings.model_validate({"endpoint": endpoint, "token": TOKEN})
        assert settings.token is not None
        assert TOKEN not in repr(settings)
    for endpoint in ("http://mirror.example", "http://192.0.2.1", ""):
        with pytest.raises(ValidationError) as error:
            ModelsSettings.model_validate({"endpoint": endpoint, "token": TOKEN})
        assert TOKEN not in str(error.value)


def test_it_is_offline_unless_somebody_says_otherwise() -> None:
    assert ModelsSettings().upstream is False
    assert ModelsSettings().token is None
    assert ModelsSettings.model_validate({"token": ""}).token is None


def signers(*given: dict[str, Any]) -> tuple[Signer, ...]:
    return trusted(ModelsSettings.model_validate({"signers": given}))


def test_signers_are_given_on_as_they_are_configured() -> None:
    assert trusted(ModelsSettings()) == ()
    found = signers(
        {"name": "a", "public_key": "/a.pem", "models": ["owner/*"]},
        {"name": "b", "kind": "certificate", "certificates": ["/b.pem", "/c.pem"]},
        {
            "name": "c",
            "kind": "sigstore",
            "identity": "a@b",
            "issuer": "https://c",
            "trust_config": "/t.json",
        },
    )
    assert found == (
        Signer("a", SignerKind.KEY, public_key="/a.pem", models=("owner/*",)),
        Signer("b", SignerKind.CERTIFICATE, certificates=("/b.pem", "/c.pem")),
        Signer("c", SignerKind.SIGSTORE, identity="a@b", issuer="https://c", trust_config="/t.json"),
    )


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"name": "a"}, "is missing"),
        ({"name": "a", "kind": "certificate"}, "is missing"),
        ({"name": "a", "kind": "sigstore", "identity": "x"}, "is missing"),
        ({"name": "a", "public_key": "/a", "issuer": "x"}, "is for kind sigstore alone"),
        ({"name": "a", "public_key": "/a", "trust_config": "/x"}, "is for kind sigstore alone"),
        (
            {"name": "a", "kind": "certificate", "certificates": ["/a"], "public_key": "/b"},
            "for kind key alone",
        ),
        ({"name": "a", "public_key": "a"}, "absolute"),
        ({"name": "a", "kind": "guess", "public_key": "/a"}, "kind"),
    ],
)
def test_a_signer_that_proves_nothing_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        signers(given)


def test_names_of_signers_are_used_once_and_bounded() -> None:
    with pytest.raises(ValidationError, match="used more than once"):
        signers(*[{"name": "a", "public_key": "/a"}] * 2)
    with pytest.raises(ValidationError, match="more than"):
        signers(*[{"name": f"a{each}", "public_key": "/a"} for each in range(MOST_SIGNERS + 1)])
