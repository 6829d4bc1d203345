"""``aiidpctl secrets``: files, exit codes, and that a key is shown on request alone."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiidpd.cli.main import main
from tests.fakes.keyed_engine import KeyedEngine, serving

Ctl = Callable[..., tuple[int, str, str]]
GOOD = "0f1e2d3c4b5a69788796a5b4c3d2e1f01b0c9d8e7f60514233241506f7e8d9ca"
ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "etc/secrets"


@pytest.fixture
def ctl(folder: Path, capsys: pytest.CaptureFixture[str]) -> Ctl:
    def run(*arguments: str) -> tuple[int, str, str]:
        socket = str(folder.parent / "no.sock")
        try:
            code = main(["--socket", socket, "secrets", *arguments, "--folder", str(folder)])
        except SystemExit as error:
            code = int(str(error.code))
        said = capsys.readouterr()
        for key in keys(folder):
            shown = "show" in arguments or "--show" in arguments
            assert shown or (key not in said.out and key not in said.err), "a key is printed on request alone"
        return code, said.out, said.err

    return run


def keys(folder: Path) -> set[str]:
    files = folder.glob("*.key") if folder.is_dir() else ()
    return {path.read_text().strip() for path in files}


def document(said: tuple[int, str, str]) -> Any:
    assert said[0] == 0, said
    return json.loads(said[1])


def test_the_usual_keys_are_made_once(ctl: Ctl, folder: Path) -> None:
    code, out, err = ctl("generate")
    assert (code, out) == (0, "")
    assert err.count("for the server") == 3
    sizes = {path.stem: len(path.read_text().strip()) * 4 for path in folder.glob("*.key")}
    assert sizes == {"VLLM_API_KEY": 256, "LLAMACPP_API_KEY": 256, "ADMIN_KEY": 384}
    assert (folder / "LLAMACPP_API_KEY.keys").read_text() == (folder / "LLAMACPP_API_KEY.key").read_text()
    assert '\napi-key: "' in (folder / "VLLM_API_KEY.yaml").read_text()
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    before = keys(folder)
    assert "all of them were there already" in ctl("generate")[2]
    assert keys(folder) == before
    assert len(before) == 3


def test_no_key_is_in_the_registry(ctl: Ctl, folder: Path) -> None:
    ctl("generate")
    text = (folder / "registry.json").read_text()
    assert [key for key in keys(folder) if key in text] == []


def test_a_key_is_shown_to_who_asks(ctl: Ctl, folder: Path) -> None:
    out = ctl("generate", "A", "--show")[1]
    (key,) = keys(folder)
    assert out == f"A {key}\n"
    assert ctl("show", "A")[1] == f"{key}\n"
    assert document(ctl("show", "A", "--json")) == {"name": "A", "key": key}
    assert "key" not in document(ctl("list", "--json"))["keys"][0]


def test_a_list_says_everything_but_the_key(ctl: Ctl, folder: Path) -> None:
    options = ("--url", "http://127.0.0.1:8001/", "--container", "llamacpp-cpu", "--user", "daemon")
    ctl("generate", "LLAMACPP_API_KEY", *options)
    (found,) = document(ctl("list", "--json"))["keys"]
    assert found["file"] == str(folder / "LLAMACPP_API_KEY.keys")
    assert (found["mode"], found["bits"], found["weaknesses"]) == ("0600", 256, [])
    assert (found["engine"], found["url"]) == ("container:llamacpp-cpu", "http://127.0.0.1:8001")
    out = ctl("list")[1]
    assert "container:llamacpp-cpu at http://127.0.0.1:8001; daemon" in out
    assert "256 bits" in out


def test_an_empty_folder_and_one_that_is_not_there(ctl: Ctl, folder: Path) -> None:
    code, _, err = ctl("list")
    assert (code, "does not exist; `aiidpctl secrets generate`" in err) == (1, True)
    assert not folder.exists()
    folder.mkdir(parents=True, mode=0o700)
    for command in ("list", "verify"):
        code, out, err = ctl(command)
        assert (code, out) == (0, "")
        assert "there are no keys" in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("generate", "../x"), 2, "is no name"),
        (("generate", "A", "--bits", "64"), 2, "is not from 128"),
        (("generate", "A", "--bits", "129"), 2, "in steps of 8"),
        (("generate", "A", "--format", "other"), 2, "invalid choice"),
        (("generate", "A", "--url", "http://10.0.0.1:8000"), 2, "in the clear"),
        (
            ("generate", "A", "--user", "somebody"),
            2,
            "is none of container:NAME, unit:NAME, daemon, hand, nobody",
        ),
        (("generate", "A", "--copy", "relative"), 2, "no absolute path"),
        (("generate", "A", "--owner", "nobody-of-this-name"), 2, "no such user or group"),
        (("generate", "A", "--container", "a", "--unit", "b"), 2, "not allowed with"),
        (("generate", "A", "B", "--url", "http://127.0.0.1"), 2, "such options belong to one key"),
        (("generate", "A", "--from", "/nowhere/at/all"), 2, "no such file"),
        (("show", "A"), 2, "there is none of this name; known: none"),
        (("set", "A", "--url", "http://127.0.0.1"), 2, "there is none of this name"),
        (("verify", "A"), 2, "there is none of this name"),
        (("rotate", "A"), 2, "there is none of this name"),
        (("remove", "A"), 2, "there is none of this name"),
        (("credential", "A"), 2, "one of the arguments --endpoint --server is required"),
    ],
)
def test_what_can_not_be_ends_with_its_code_and_a_reason(
    ctl: Ctl, folder: Path, arguments: tuple[str, ...], code: int, words: str
) -> None:
    folder.mkdir(parents=True, mode=0o700)
    found, out, err = ctl(*arguments)
    assert (found, out) == (code, "")
    assert words in err
    assert keys(folder) == set()


def test_a_key_that_is_there_is_not_made_again(ctl: Ctl, folder: Path) -> None:
    ctl("generate", "A")
    before = keys(folder)
    code, _, err = ctl("generate", "A", "B")
    assert code == 1
    assert "cannot generate A: it is there already; `aiidpctl secrets rotate`" in err
    assert keys(folder) == before


def test_a_file_that_nobody_has_noted_is_not_overwritten(ctl: Ctl, folder: Path) -> None:
    folder.mkdir(parents=True, mode=0o700)
    (folder / "A.key").write_text(f"{GOOD}\n")
    code, _, err = ctl("generate", "A")
    assert code == 1
    assert "is there, and no key is noted for it; remove it, or take it over with --from" in err
    assert ctl("generate", "A", "--from", str(folder / "A.key"))[0] == 0
    assert (folder / "A.key").read_text() == f"{GOOD}\n"


def test_a_key_is_taken_from_a_file_or_from_standard_input(
    ctl: Ctl, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old").write_text(f"{GOOD}\r\n")
    code, _, err = ctl("generate", "A", "--from", str(tmp_path / "old"))
    assert (code, f"{tmp_path / 'old'} still holds the key: remove it" in err) == (0, True)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD[::-1].encode())))
    assert ctl("generate", "B", "--from", "-")[0] == 0
    assert keys(folder) == {GOOD, GOOD[::-1]}
    assert {each["bits"] for each in document(ctl("list", "--json"))["keys"]} == {0}
    assert "brought" in ctl("list")[1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b"a b", "it holds a space"),
        (b"one\ntwo\n", "a control character"),
        ("\u00e9".encode(), "outside of ASCII"),
        (b"x" * 5000, "longer than"),
        (b"changeme", "it is weak: short, placeholder"),
        pytest.param(b"%d" % time.time(), "it is weak: short, timestamp", id="now"),
        (b"a" * 64, "it is weak: low_entropy"),
    ],
)
def test_no_bad_key_is_taken_and_none_is_printed(
    ctl: Ctl, folder: Path, tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "bad").write_bytes(content)
    code, _, err = ctl("generate", "A", "--from", str(tmp_path / "bad"))
    assert code in (1, 2)
    assert words in err
    assert not content.strip() or content.decode().strip()[:40] not in err
    assert keys(folder) == set()


def test_a_weak_one_is_taken_on_demand_and_stays_weak(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("changeme")
    assert ctl("generate", "A", "--from", str(tmp_path / "bad"), "--accept-weak")[0] == 0
    assert "weak: short, placeholder" in ctl("list")[1]
    code, out, _ = ctl("verify")
    assert code == 1
    assert "failed   strength: it is short, it is made of words of examples and defaults" in out


def test_what_is_noted_is_changed_and_the_key_is_not(ctl: Ctl, folder: Path, tmp_path: Path) -> None:
    ctl("generate", "VLLM_API_KEY")
    before, copy = keys(folder), tmp_path / "etc/copy"
    assert ctl("set", "VLLM_API_KEY", "--unit", "vllm.service", "--user", "hand", "--copy", str(copy))[0] == 0
    assert copy.read_text().strip() in before
    assert keys(folder) == before
    err = ctl("set", "VLLM_API_KEY", "--copy", "none")[2]
    assert f"{copy} is no copy any more, and still holds the key" in err
    (found,) = document(ctl("list", "--json"))["keys"]
    assert (found["engine"], found["users"], found["copies"]) == ("unit:vllm.service", ["hand"], [])


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_the_server_s_file_gets_its_owner_and_the_other_one_stays(ctl: Ctl, folder: Path) -> None:
    ctl("generate", "VLLM_API_KEY", "--owner", "1000:2000")
    facts = (folder / "VLLM_API_KEY.yaml").stat()
    assert (facts.st_uid, facts.st_gid) == (1000, 2000)
    assert (folder / "VLLM_API_KEY.key").stat().st_uid == 0
    assert ctl("verify")[0] == 0
    ctl("set", "VLLM_API_KEY", "--owner", "root")
    assert (folder / "VLLM_API_KEY.yaml").stat().st_uid == 0


def test_a_folder_that_others_may_write_is_refused(ctl: Ctl, folder: Path) -> None:
    ctl("generate", "A")
    folder.parent.chmod(0o777)
    for command in (("list",), ("show", "A"), ("generate", "B"), ("rotate", "A"), ("verify",)):
        code, out, err = ctl(*command)
        assert (code, out) == (2, "")
        assert f"cannot use {folder.parent}: others may write it (777); chmod go-w" in err


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda at: (at / "A.keys").chmod(0o644), "its group may read it"),
        (lambda at: (at / "A.key").chmod(0o604), "everybody may read it"),
        (lambda at: (at / "A.keys").unlink(), "it does not exist"),
        (lambda at: os.link(at / "A.key", at / "B"), "it has a second name"),
        (lambda at: (at / "A.keys").write_text(f"{GOOD}\n"), "hold different keys"),
        (lambda at: (at / "A.key").write_text("two\nlines\n"), "it holds more than one line"),
        (lambda at: ((at / "A.key").rename(at / "x"), (at / "A.key").symlink_to("x")), "it is no file"),
        (lambda at: (at / "A.rotation.json").write_text("{}"), "it has no version"),
        (lambda at: (at.parent / "copy").write_text(f"{GOOD}\n"), "it holds another key"),
        (lambda at: (at.parent / "copy").unlink(), "it does not exist"),
        (lambda at: (at.parent / "copy").chmod(0o644), "everybody may read it"),
    ],
)
def test_whatever_is_wrong_with_files_is_found(
    ctl: Ctl, folder: Path, harm: Callable[[Path], Any], words: str
) -> None:
    ctl("generate", "A", "--format", "llamacpp", "--copy", str(folder.parent / "copy"))
    assert ctl("verify")[0] == 0
    harm(folder)
    code, out, _ = ctl("verify")
    assert code == 1
    assert words in out
    assert ctl("list")[0] == 0


def test_one_key_under_two_names_is_found(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "good").write_text(GOOD)
    for name in ("A", "B"):
        ctl("generate", name, "--from", str(tmp_path / "good"))
    code, out, _ = ctl("verify", "A")
    assert code == 1
    assert "failed   uniqueness: B has the same key" in out


def test_a_server_that_accepts_the_key_and_those_that_do_not(ctl: Ctl, folder: Path) -> None:
    with serving(KeyedEngine(file=folder / "A.keys")) as engine:
        ctl("generate", "A", "--format", "llamacpp", "--url", engine.url)
        code, out, _ = ctl("verify")
        assert code == 1
        assert "it refuses the key; restart it, so that it reads" in out
        engine.restart()
        assert ctl("verify")[0] == 0
        engine.status = 200
        assert "it answers without a key" in ctl("verify")[1]
        engine.status = 503
        assert "unknown" in ctl("verify")[1]
        assert ctl("verify", "--offline")[0] == 0
        found = json.loads(ctl("verify", "--json")[1])
        assert found["keys"][0]["checks"][-1]["outcome"] == "unknown"


def test_a_rotation_that_waits_for_a_person_ends_with_1_and_then_with_0(ctl: Ctl, folder: Path) -> None:
    with serving(KeyedEngine()) as engine:
        engine.file = folder / "A.keys"
        ctl("generate", "A", "--format", "llamacpp", "--url", engine.url, "--unit", "a.service")
        engine.restart()
        (folder.parent / "bin").mkdir()
        before = keys(folder)
        code, _, err = ctl("rotate", "A", "--patience", "1s", "--restart-yourself")
        assert code == 1
        assert "restart the server of A now: `systemctl restart a.service`" in err
        assert "it has not read its keys again" in err
        assert "rotation: it is at phase add" in ctl("verify")[1]
        assert "rotation at phase add" in ctl("list")[1]
        assert "its rotation has begun" in ctl("set", "A", "--url", engine.url)[2]
        engine.restart()
        code, out, err = ctl("rotate", "A", "--json")
        assert (code, json.loads(out)["outcome"]) == (1, "waits")
        assert "`aiidpctl secrets rotate A --switched`" in err
        engine.file.write_text((folder / "A.key").read_text())
        engine.restart()
        assert ctl("rotate", "A", "--switched")[0] == 0
        assert keys(folder) != before
        assert ctl("verify")[0] == 0


def test_the_lines_for_systemd_are_shown_and_written_on_demand(
    ctl: Ctl, folder: Path, tmp_path: Path
) -> None:
    ctl("generate", "A")
    line = f"LoadCredential=aiidpd.bench.endpoints.local.api_key:{folder}/A.key"
    code, out, err = ctl("credential", "A", "--endpoint", "local")
    assert (code, out) == (0, f"[Service]\n{line}\n")
    assert "--user unit:aiidpd.service" in err
    drop_ins = tmp_path / "etc/aiidpd.service.d"
    ctl("set", "A", "--user", "unit:aiidpd.service")
    found = document(
        ctl("credential", "A", "--server", "x", "--apply", "--drop-ins", str(drop_ins), "--json")
    )
    assert found["written"]
    path = Path(found["path"])
    assert path == drop_ins / "secrets-A-x.conf"
    assert "aiidpd.engines.servers.x.api_key:" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert ctl("credential", "A", "--endpoint", "a/b")[0] == 2


def test_a_key_is_removed_with_all_its_files(ctl: Ctl, folder: Path) -> None:
    ctl("generate", "A", "--format", "vllm", "--copy", str(folder.parent / "copy"))
    err = ctl("remove", "A")[2]
    assert "accepts it until it is restarted" in err
    assert {path.name for path in folder.iterdir()} == {".lock", "registry.json"}
    assert not (folder.parent / "copy").exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2, "keys": []}', "\x00", '{"version": 1, "keys": [], "keys": []}']
)
def test_a_broken_registry_is_left_as_it_is(ctl: Ctl, folder: Path, text: str) -> None:
    ctl("generate", "A")
    (folder / "registry.json").write_text(text)
    for command in (("list",), ("generate", "B"), ("verify",)):
        code, _, err = ctl(*command)
        assert code == 1
        assert "registry.json" in err
    assert (folder / "registry.json").read_text() == text
