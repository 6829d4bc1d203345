from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.config.load import Loaded, describe, load
from aiidpd.config.problems import InvalidConfiguration
from aiidpd.config.toml import render, render_key
from aiidpd.daemon.schema import SCHEMA

SCALAR = st.one_of(
    st.text(max_size=12),
    st.integers(),
    st.floats(),
    st.booleans(),
    st.sampled_from(["1s", "7d", "200MiB", "/srv", "/srv/x", "nvml", "simulated", "Sun 03:00", "::1:9", ""]),
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["name", "url", "model", "kind", "api_key", "x"]), inner, max_size=4),
    ),
    max_leaves=6,
)
KEY = st.one_of(st.sampled_from([str(key[-1]) for key in SCHEMA.keys]), st.text(max_size=4))
CONTENT = st.dictionaries(
    st.one_of(st.sampled_from(sorted(SCHEMA.tables)), st.text(max_size=4)),
    st.one_of(st.dictionaries(KEY, VALUE, max_size=4), VALUE),
    max_size=4,
)
ENVIRON = st.dictionaries(st.sampled_from(sorted(SCHEMA.variables)), st.text(max_size=12), max_size=3)


def attempt(path: Path, environ: dict[str, str]) -> Loaded | InvalidConfiguration:
    try:
        return load(SCHEMA, path, environ)
    except InvalidConfiguration as error:
        return error


@settings(deadline=None)
@given(CONTENT, CONTENT, ENVIRON)
def test_any_content_is_used_or_refused_with_its_places(
    first: dict[str, Any], second: dict[str, Any], environ: dict[str, str]
):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aiidpd.toml"
        path.with_name("conf.d").mkdir()
        for place, content in ((path, first), (path.parent / "conf.d" / "a.toml", second)):
            text = "".join(f"{render_key(key)} = {render(value)}\n" for key, value in content.items())
            tomllib.loads(text)
            place.write_bytes(text.encode())
        outcome = attempt(path, environ)
        if isinstance(outcome, Loaded):
            assert len(describe(outcome)) >= len(SCHEMA.keys) - 1
            return
        assert outcome.problems
        for problem in outcome.problems:
            assert problem.place.startswith((folder, "environment AIIDPD_")), problem
            assert problem.reason
            assert str(problem).isprintable()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_used_or_refused(content: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aiidpd.toml"
        path.write_bytes(content)
        outcome = attempt(path, {})
        if isinstance(outcome, InvalidConfiguration):
            assert outcome.problems[0].place.startswith(str(path))
