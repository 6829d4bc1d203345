"""Files of keys: servers read them, and what is not ours is refused without a word of it."""

from __future__ import annotations

import pytest
import yaml  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.secrets.formats import NotOurs, key_problem, parse, render
from aiidpd.components.secrets.registry import Format
from aiidpd.components.secrets.store import new_key

keys = st.lists(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=80).filter(
        lambda text: not key_problem(text)
    ),
    min_size=1,
    max_size=3,
    unique=True,
)


@given(keys)
def test_what_is_written_is_read_again(given_keys: list[str]) -> None:
    for form in (Format.LLAMACPP, Format.VLLM):
        assert parse(form, render(form, given_keys)) == tuple(given_keys)
    assert parse(Format.PLAIN, render(Format.PLAIN, given_keys[:1])) == tuple(given_keys[:1])


@given(keys)
def test_a_real_reader_of_yaml_reads_the_same(given_keys: list[str]) -> None:
    document = yaml.safe_load(render(Format.VLLM, given_keys))
    assert set(document) == {"api-key"}
    value = document["api-key"]
    assert (value if isinstance(value, list) else [value]) == given_keys
    assert isinstance(value, str) == (len(given_keys) == 1), "old versions of vLLM take one"


def test_a_key_of_ours_suits_every_server() -> None:
    for bits in (128, 256, 384, 4096):
        key = new_key(bits)
        assert len(key) * 4 == bits
        assert key_problem(key) == ""


@pytest.mark.parametrize(
    "key", ["", "-abc", 'a"b', "a'b", "a b", "a\nb", "é", "a#b", "a,b", "a\\b", "x" * 4097]
)
def test_what_some_server_would_read_otherwise_is_no_key(key: str) -> None:
    assert key_problem(key)
    with pytest.raises(ValueError, match="key"):
        render(Format.LLAMACPP, [key])


@pytest.mark.parametrize("given_keys", [[], ["a", "a"]])
def test_no_keys_and_one_twice_are_not_written(given_keys: list[str]) -> None:
    with pytest.raises(ValueError, match="keys"):
        render(Format.LLAMACPP, given_keys)


def test_a_plain_file_holds_one_key() -> None:
    with pytest.raises(ValueError, match="one key"):
        render(Format.PLAIN, ["a", "b"])
    with pytest.raises(NotOurs, match="more than one line"):
        parse(Format.PLAIN, b"a\nb\n")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"api-key:\n",
        b'api-key: "a"\nport: 8000\n',
        b'port: 8000\napi-key: "a"\n',
        b"api-key: a\n",
        b'api-key: ["a", "b"]\n',
        b'api-key:\n  - "a"\n  - "a"\n',
        b'api-key: &a "x"\n',
        b"\xff",
        b"#" * 70_000,
    ],
)
def test_a_yaml_file_of_somebody_else_is_not_ours(data: bytes) -> None:
    with pytest.raises(NotOurs):
        parse(Format.VLLM, data)


@given(st.sampled_from(Format), st.binary(max_size=300))
def test_any_bytes_are_keys_or_not_ours_and_an_error_holds_none_of_them(form: Format, data: bytes) -> None:
    said = ""
    found: tuple[str, ...] = ("a",)
    try:
        found = parse(form, data)
    except NotOurs as error:
        said = str(error)
    assert found
    assert not any(map(key_problem, found))
    assert [word for word in data.decode("latin-1").split() if len(word) >= 12 and word in said] == []
