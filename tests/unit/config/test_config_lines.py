from __future__ import annotations

import tomllib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.config.lines import line_numbers, line_of

# Each statement has @ where the line of its beginning is to be written, and {n} for a fresh name.
NOTHING = ["", "   ", "# x = 1", "# [not.a.table]", '# """']
PAIRS = [
    "{n} = @",
    '  {n} = "@" # a = 2',
    '"{n}.quoted" = @',
    "{n}.inner.most = @",
    "{n} = {{ one = @, two.three = @ }}",
    "{n} = [@]",
    "{n} = [ # first\n\n  @,\n  # ] = 1\n  @,\n]",
    "{n} = [\n  {{ one = @ }},\n  {{ one = @, two = @ }},\n]",
    '{n} = """\n[table]\nx = 1\n# no comment\n\n@"""',
    "{n} = '''\n[[list]]\n\"\"\"\n@'''",
]


@st.composite
def documents(draw: st.DrawFn) -> str:
    """A valid TOML text in which every value is the line where the statement that sets it begins."""
    lines: list[str] = []
    fresh = iter(f"k{number}" for number in range(1000))
    tables: list[str] = []
    lists: list[str] = []

    def add(statement: str) -> None:
        begins = str(len(lines) + 1)
        lines.extend(statement.format(n=next(fresh)).replace("@", begins).split("\n"))

    for _ in range(draw(st.integers(0, 12))):
        kind = draw(st.sampled_from(["nothing", "pair", "pair", "table", "list", "again"]))
        if kind == "nothing":
            add(draw(st.sampled_from(NOTHING)))
        elif kind == "pair":
            add(draw(st.sampled_from(PAIRS)))
        elif kind == "again" and lists:
            add(f"[[{draw(st.sampled_from(lists))}]]")
        else:
            parents = [*tables, *lists, ""] if kind == "table" else ["", *lists]
            parent = draw(st.sampled_from(parents))
            name = f"{parent}.{next(fresh)}".lstrip(".")
            known, header = (tables, f"[ {name} ]") if kind == "table" else (lists, f"[[{name}]] # x")
            known.append(name)
            add(header)
    return draw(st.sampled_from(["\n", "\r\n"])).join(lines) + draw(st.sampled_from(["", "\n", "\n\n"]))


def leaves(key: tuple[str | int, ...], value: object) -> Iterator[tuple[tuple[str | int, ...], int]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves((*key, name), item)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, item in enumerate(value):
            yield from leaves((*key, index), item)
    else:
        first = value[0] if isinstance(value, list) else value
        yield key, int(str(first).split("\n")[-1])


def is_valid(text: str) -> bool:
    """Rarely a list is continued whose name became a table in the newest entry of its parent."""
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


@settings(deadline=None)
@given(documents().filter(is_valid))
def test_every_key_is_found_where_its_statement_begins(text: str):
    numbers = line_numbers(text)
    for key, line in leaves((), tomllib.loads(text)):
        assert numbers[key] == line, key


def test_tables_and_entries_of_lists_have_the_line_of_their_header():
    text = "a = 1\n\n[t]\n[[t.l]]\nx = 1\n[t.l.sub]\ny = 1\n[[t.l]]\n[t.l.sub]\n"
    numbers = line_numbers(text)
    assert numbers["t",] == 3
    assert numbers["t", "l", 0] == 4
    assert numbers["t", "l", 0, "sub", "y"] == 7
    assert numbers["t", "l", 1] == 8
    assert numbers["t", "l", 1, "sub"] == 9


@pytest.mark.parametrize(
    ("key", "line"), [(("a", "b"), 2), (("a", "missing"), 1), (("a", "l", 0, "x"), 3), (("z",), None)]
)
def test_what_is_missing_has_the_line_of_what_is_around_it(key: tuple[str | int, ...], line: int | None):
    assert line_of(line_numbers("[a]\nb = 1\nl = [ {} ]\n"), key) == line


def test_many_lines_take_no_quadratic_time():
    text = "".join(f"k{number} = {number}\n" for number in range(20_000))
    assert line_numbers(text)["k19999",] == 20_000
