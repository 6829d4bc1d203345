from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.config.salvage import fragments, salvage
from aiidpd.daemon.schema import SCHEMA

WHOLE = """\
# a remark
[daemon]
state_directory = "/srv/state"

[containers]
socket = "/run/other.sock"
call_timeout = "3s"
"""


def salvaged(folder: Path, text: str, key: str, environ: dict[str, str] | None = None) -> list[object]:
    path = folder / "aiidpd.toml"
    path.write_text(text)
    table, _, name = key.partition(".")
    return salvage(SCHEMA, path, environ or {}).values(table, name)


@pytest.mark.parametrize(
    "broken",
    [
        "[nothing]\nx = 1\n",
        "[gpu\n",
        '[gpu]\nlibary = "nvml"\n',
        "call_timeout = \n",
        "x = '''\n",
        "[daemon]\n",
    ],
)
def test_a_value_that_can_be_read_is_found_whatever_else_is_wrong(tmp_path: Path, broken: str) -> None:
    assert salvaged(tmp_path, WHOLE + broken, "daemon.state_directory") == [Path("/srv/state")]
    assert salvaged(tmp_path, WHOLE + broken, "containers.call_timeout") == [3.0]
    assert salvaged(tmp_path, broken + WHOLE, "containers.socket") == [Path("/run/other.sock")]


def test_a_value_that_is_wrong_itself_is_none(tmp_path: Path) -> None:
    assert salvaged(tmp_path, '[daemon]\nstate_directory = "here"\n[gpu\n', "daemon.state_directory") == []
    assert salvaged(tmp_path, "[daemon]\nstate_directory = /srv\n", "daemon.state_directory") == []


def test_the_stronger_layer_comes_first_and_the_weaker_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text('[daemon]\nstate_directory = "/srv/a"\nwrong = 1\n')
    environ = {"AIIDPD_DAEMON__STATE_DIRECTORY": "/srv/environ", "AIIDPD_NOTHING": "1"}
    found = salvaged(tmp_path, WHOLE, "daemon.state_directory", environ)
    assert found == [Path("/srv/environ"), Path("/srv/a"), Path("/srv/state")]


def test_without_a_file_there_is_nothing_to_be_found(tmp_path: Path) -> None:
    assert salvage(SCHEMA, tmp_path / "none.toml", {}).values("daemon", "state_directory") == []
    assert salvage(SCHEMA, tmp_path, {}).values("daemon", "state_directory") == []


@given(st.lists(st.one_of(st.sampled_from(WHOLE.splitlines()), st.text(max_size=20)), max_size=12))
def test_of_any_text_only_what_a_line_says_is_taken(lines: list[str]) -> None:
    text = "\n".join(lines)
    known = {"/srv/state", "/run/other.sock", "3s"}
    for table, values in fragments(text).items():
        assert isinstance(table, str)
        for key in values.keys() & {"state_directory", "socket", "call_timeout"}:
            assert values[key] in known or "=" in "".join(set(lines) - set(WHOLE.splitlines()))


@given(st.binary(max_size=80))
def test_no_content_of_a_file_is_an_error(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "aiidpd.toml"
        path.write_bytes(content)
        found = salvage(SCHEMA, path, {}).values("daemon", "state_directory")
        assert all(isinstance(each, Path) and each.is_absolute() for each in found)
