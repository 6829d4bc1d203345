"""The table [models]: what can't hold together, and the secret that is shown nowhere."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from aiidpd.components.models.settings import ModelsSettings

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
