"""An archive for a report: no key in it in any form, bounded, and written for one user alone."""

from __future__ import annotations

import base64
import io
import json
import os
import secrets as random
import stat
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.cli.main import main
from aiidpd.contracts.checks import Surroundings
from aiidpd.daemon.bundle import archive
from aiidpd.daemon.bundle.archive import Contents, Member, contents, write
from aiidpd.daemon.bundle.known import Secrets
from aiidpd.daemon.bundle.members import LeftOut, Source
from aiidpd.daemon.schema import SCHEMA
from aiidpd.history.store import History
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.errors import Misconfigured
from aiidpd.kernel.events import Event
from aiidpd.platform.redaction import REDACTED
from tests.unit.daemon.bundle.hiding import ways

KEY = random.token_hex(32)
OTHER = f"{random.token_urlsafe(24)}+/\"\\'&<"


def known(*keys: str) -> Secrets:
    found = Secrets()
    found.add(*keys)
    return found


def source(name: str, made: Any) -> Source:
    return Source(name, "it", lambda: made() if callable(made) else made)


def texts(found: Contents) -> dict[str, str]:
    return {each.name: each.data.decode() for each in found.members}


@pytest.mark.parametrize("key", [KEY, OTHER], ids=["hex", "odd"])
def test_no_key_in_any_form_is_in_a_member(key: str):
    hidden = list(ways(key))
    found = contents(
        [
            source("a.txt", lambda: iter(hidden)),
            source("b.json", {"x": hidden, "y": dict.fromkeys(hidden, 1)}),
        ],
        known(key),
    )
    assert found.left_out == {}
    for member in found.members:
        assert [way for way in hidden if len(way) < 400 and way in member.data.decode()] == []
        assert member.redacted >= len(hidden)


@given(
    key=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=16, max_size=64),
    before=st.binary(max_size=5),
)
def test_no_key_is_found_in_base64_wherever_it_begins(key: str, before: bytes):
    text = base64.b64encode(before + key.encode() + b"\n").decode()
    found = contents([source("a.txt", [f"x {text} y {quote(key)} z"])], known(key))
    data = b"".join(member.data for member in found.members).decode()
    assert key not in data
    begin = (-len(before)) % 3
    whole = base64.b64encode(key.encode()[begin : len(key) - (len(key) - begin) % 3]).decode()
    assert whole not in data


def test_a_member_that_would_have_a_key_all_the_same_is_left_out(monkeypatch: pytest.MonkeyPatch):
    secrets = known(KEY)
    monkeypatch.setattr(Secrets, "take_out", lambda _self, text: text)
    found = contents([source("a.txt", [f"see {KEY}"]), source("b.txt", ["fine"])], secrets)
    assert found.left_out == {"a.txt": "a key would be in it"}
    assert texts(found) == {"b.txt": "fine\n"}


def test_a_key_that_is_a_word_or_a_number_goes_where_it_stands_alone():
    found = contents(
        [
            source("a.json", {"size": 1234, "more": 12345, "said": "it is 1234, not 51234"}),
            source("b.txt", ["1234!"]),
        ],
        known("1234"),
    )
    assert json.loads(texts(found)["a.json"]) == {
        "size": 1234,
        "more": 12345,
        "said": "it is [redacted], not 51234",
    }
    assert texts(found)["b.txt"] == "[redacted]!\n"


def test_what_looks_like_a_secret_goes_too():
    lines = ["Authorization: Bearer abcdef0123456789abcdef", "--api-key hunter2hunter2", "GET /x 200"]
    text = texts(contents([source("a.txt", lines)], known()))["a.txt"]
    assert text.count(REDACTED) == 2
    assert "GET /x 200" in text


def test_a_source_that_fails_costs_itself_alone():
    def fail(error: Exception) -> Callable[[], Any]:
        def make() -> Any:
            raise error

        return make

    def halfway() -> Iterator[str]:
        yield "begun"
        raise LeftOut(f"no more, {KEY}")

    found = contents(
        [
            source("a.txt", fail(LeftOut("not here"))),
            source("b.txt", fail(PermissionError(13, "Permission denied"))),
            source("c.json", fail(ZeroDivisionError(KEY))),
            source("d.txt", halfway),
            source("e.json", {"x": 1}),
        ],
        known(KEY),
    )
    assert list(texts(found)) == ["e.json"]
    assert list(found.left_out) == ["a.txt", "b.txt", "c.json", "d.txt"]
    assert KEY not in str(found.left_out)


def test_members_and_the_whole_are_bounded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(archive, "LARGEST", 1000)
    monkeypatch.setattr(archive, "LARGEST_ALL", 2500)
    lines = [f"line {number:04}" for number in range(1000)]
    found = contents(
        [
            source("a.txt", lines),
            source("big.json", {"x": "y" * 2000}),
            source("b.txt", lines),
            source("c.txt", lines),
            source("d.txt", ["small"]),
        ],
        known(),
    )
    assert [(each.name, each.cut, len(each.data)) for each in found.members] == [
        ("a.txt", True, 1000),
        ("b.txt", True, 1000),
        ("d.txt", False, 6),
    ]
    assert texts(found)["a.txt"].endswith("line 0999\n")
    assert list(found.left_out) == ["big.json", "c.txt"]


def test_the_archive_is_for_its_owner_alone_and_says_what_is_in_it(tmp_path: Path):
    path = tmp_path / "x.tar.gz"
    os.umask(0)
    try:
        write(path, Contents((Member("a.txt", "it", b"text\n", 1),), {"b.txt": "gone"}), 1_800_000_000.0)
    finally:
        os.umask(0o022)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with tarfile.open(path) as found:
        assert found.getnames() == ["x/manifest.json", "x/a.txt"]
        assert {(each.mode, each.uid) for each in found.getmembers()} == {(0o600, 0)}
        manifest = json.load(found.extractfile("x/manifest.json") or io.BytesIO())
    assert manifest["members"][0] | {"name": "a.txt", "redacted": 1, "bytes": 5} == manifest["members"][0]
    assert manifest["left_out"] == [{"name": "b.txt", "reason": "gone"}]


def test_nothing_is_replaced_or_followed_and_nothing_half_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "there").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("there", "link", "none/x"):
        with pytest.raises(Misconfigured) as error:
            write(tmp_path / name, Contents((), {}), 0.0)
        assert error.value.remedy
    assert (tmp_path / "there").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Misconfigured, match="no space left"):
        write(tmp_path / "new", Contents((), {}), 0.0)
    assert not (tmp_path / "new").exists()


def test_keys_are_known_from_settings_credentials_environment_and_folders(tmp_path: Path):
    keys = {
        name: random.token_hex(20) for name in ("setting", "unit", "env", "handed", "folder", "yaml", "other")
    }
    for name in ("unit", "handed/aiidpd.x", "folder/VLLM_API_KEY", "folder/c.yaml"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{keys[name.partition('/')[0]]}\n")
    (tmp_path / "folder/c.yaml").write_text(f'api-key: ["{keys["yaml"]}"]\n')
    endpoint = {"name": "a", "url": "http://x", "model": "m", "api_key": keys["setting"]}
    settings = SCHEMA.settings.model_validate({"bench": {"endpoints": [endpoint]}})
    around = Surroundings(0, frozenset(), described={"LoadCredential": (f"aiidpd.x:{tmp_path}/unit",)})
    environ = {
        "MY_TOKEN": keys["env"],
        "CREDENTIALS_DIRECTORY": str(tmp_path / "handed"),
        "OTHER": keys["other"],
    }
    found = Secrets.of(settings, around, environ, (tmp_path / "folder", tmp_path / "none"))
    assert [name for name, key in keys.items() if not found.within(f"<{key}>")] == ["other"]
    assert found.unread == []


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("state", "run"):
        (tmp_path / name).mkdir(0o750)
    path = tmp_path / "aiidpd.toml"
    path.write_text(
        f'[daemon]\nstate_directory = "{tmp_path}/state"\nruntime_directory = "{tmp_path}/run"\n'
        '[gpu]\nlibrary = "off"\n[containers]\nengine = "off"\n'
        '[telemetry]\nlisten = ""\n[control]\ngroup = ""\n'
        f'[[bench.endpoints]]\nname = "local"\nurl = "http://127.0.0.1:1"\nmodel = "m"\napi_key = "{KEY}"\n'
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    history = History.open(
        tmp_path / "state/history.sqlite3", keep=86400.0, max_bytes=2**24, clock=SystemClock()
    )
    event = Event(1_800_000_000.0, "bench", "bench.failed", f"the server refused {KEY}", id=1)
    history.record_event(event)
    history.close()
    return path


def test_the_command_works_without_a_daemon_and_its_archive_has_no_key(
    config: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["bundle", "out.tar.gz", "--config", str(config)]) == 0
    shown = capsys.readouterr()
    assert "events.jsonl" in shown.out
    assert "left out: " in shown.err
    assert "there is no such socket" in shown.err
    with tarfile.open(config.parent / "out.tar.gz") as found:
        read = {
            each.name: (found.extractfile(each) or io.BytesIO()).read().decode()
            for each in found.getmembers()
        }
    assert "the server refused [redacted]" in read["out/events.jsonl"]
    entries = json.loads(read["out/config.json"])
    assert {"setting": "gpu.library", "value": '"off"', "origin": f"{config}:5"} in entries
    assert "history.sqlite3" in read["out/state.json"]
    assert json.loads(read["out/doctor.json"])["checks"]
    for text in (*read.values(), shown.out, shown.err):
        assert [way for way in ways(KEY) if way in text] == []
    assert main(["bundle", "out.tar.gz", "--config", str(config)]) == 1
    assert "it exists already" in capsys.readouterr().err


def test_the_list_writes_nothing(config: Path, capsys: pytest.CaptureFixture[str]):
    before = sorted(config.parent.iterdir())
    assert main(["bundle", "--list", "--json", "--config", str(config)]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"versions.json", "doctor.json", "config.json"} <= {each["name"] for each in listed["members"]}
    assert listed["path"] == ""
    assert sorted(config.parent.iterdir()) == before


def test_a_broken_configuration_is_in_it_as_problems(config: Path, capsys: pytest.CaptureFixture[str]):
    config.write_text(config.read_text() + "nonsense = 1\n")
    assert main(["bundle", "--json", "--config", str(config)]) == 0
    path = Path(json.loads(capsys.readouterr().out)["path"])
    with tarfile.open(path) as found:
        [name] = [each for each in found.getnames() if each.endswith("config.json")]
        document = json.load(found.extractfile(name) or io.BytesIO())
    assert "nonsense" in document["problems"][0]
    assert KEY not in json.dumps(document)
