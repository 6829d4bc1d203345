from __future__ import annotations

import tomllib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.config.toml import render

SCALARS = st.one_of(st.text(), st.integers(-(2**63), 2**63 - 1), st.booleans())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(min_size=1), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(VALUES)
def test_what_is_rendered_reads_as_itself(value: object):
    text = render(value)
    assert "\n" not in text
    assert tomllib.loads(f"value = {text}") == {"value": value}


@settings(deadline=None)
@given(st.text(st.characters()))
def test_no_text_moves_the_cursor_of_a_terminal(text: str):
    assert render(text).isprintable()


def test_a_path_is_a_string_and_text_stays_readable():
    assert render(Path("/srv/Modèles")) == '"/srv/Modèles"'
    assert render(('a"b', "c\\d")) == '["a\\"b", "c\\\\d"]'
    assert render("\x1b[31m\U000e0001") == '"\\u001B[31m\\U000E0001"'
