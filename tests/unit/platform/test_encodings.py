from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform.encodings import forms
from aiidpd.platform.redaction import Redactor

secrets = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=60)
around = st.binary(max_size=7)
WRITTEN: list[Callable[[str], str]] = [
    str, quote, quote_plus, lambda key: quote(key, safe=""), html.escape, repr, json.dumps,
    lambda key: json.dumps(json.dumps({"key": key})),
    lambda key: json.dumps(json.dumps(json.dumps([repr(key)]))), lambda key: key.encode().hex(),
    lambda key: key.encode().hex().upper(),
    lambda key: key.encode().hex(":"), lambda key: f"Authorization: Bearer {key}\\n",
]  # fmt: skip


@pytest.mark.parametrize("write", WRITTEN)
@given(secret=secrets)
def test_a_secret_is_found_as_it_is_written(write: Callable[[str], str], secret: str):
    assert any(form in write(secret) for form in forms(secret))


@given(secret=secrets, before=around, after=around)
def test_a_secret_is_found_within_base64_wherever_it_begins(secret: str, before: bytes, after: bytes):
    for encode in (base64.b64encode, base64.urlsafe_b64encode, base64.b32encode):
        text = encode(before + secret.encode() + after).decode()
        assert any(form in text for form in forms(secret))
        assert not any(form in Redactor(forms(secret)).text(text) for form in forms(secret))


@given(st.text(max_size=100))
def test_no_form_is_shorter_than_a_word(secret: str):
    assert all(len(form) >= 4 for form in forms(secret))
    assert (secret in forms(secret)) == (len(secret) >= 4)


def test_other_text_is_left_alone():
    found = forms("vL3mKeyQ9xW0pZ7tR2bN5cD8")
    for text in (
        "aiidpd 0.1.0",
        "/var/lib/aiidpd/history.sqlite3",
        '{"gpu.interval": "1s"}',
        "0123456789abcdef",
    ):
        assert not any(form in text for form in found)
