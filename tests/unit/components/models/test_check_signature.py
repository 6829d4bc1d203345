"""Signatures of real folders by the real model_signing: whatever is done to them, and whoever signed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiidpd.components.models import covered
from aiidpd.components.models.check_signature import SignatureWanted, check_signature
from aiidpd.components.models.record import HashRecord
from aiidpd.components.models.scanned import FileStamp
from aiidpd.components.models.signatures import SignatureRecord, SignatureState, Signer, SignerKind
from tests.fakes.hub import Hub, download
from tests.unit.components.models.signing import (
    Key,
    as_sigstore,
    make_authority,
    make_key,
    sign,
    sign_as_version_0_2,
    sigstore_certificate,
    verified_by_the_package,
)
from tests.unit.components.models.site import folder_model, gguf, scanned

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what the package stands on
SIGSTORE = Signer("s", SignerKind.SIGSTORE, identity="a@example.org", issuer="https://issuer.example.org")


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path / "keys")


@pytest.fixture
def model(tmp_path: Path, key: Key) -> Path:
    """Return a folder that is signed."""
    folder = tmp_path / "models" / "llama"
    folder_model(folder)
    (folder / "more").mkdir()
    (folder / "more" / "notes.txt").write_text("notes")
    sign(folder, folder / "model.sig", key)
    return folder


def check(
    folder: Path, *signers: Signer, read: dict[str, HashRecord] | None = None, steps: list[int] | None = None
) -> SignatureRecord:
    """Return what is found of the one model in ``folder``."""
    (found,) = scanned(folder).models
    counted: Callable[[int], None] = (steps if steps is not None else []).append
    record = check_signature(SignatureWanted(found, signers), read or {}, counted, lambda: 5.0)
    assert record is not None
    return record


def state(folder: Path, *signers: Signer) -> tuple[str, str]:
    record = check(folder, *signers)
    return record.state.value, record.reason


def test_a_model_as_it_was_signed_is_valid_and_says_by_whom(model: Path, key: Key, tmp_path: Path) -> None:
    other = make_key(tmp_path / "other").signer("other")
    record = check(model.parent, other, key.signer())
    assert (record.state, record.signer, record.reason, record.at) == (
        SignatureState.VALID,
        "vendor",
        "",
        5.0,
    )
    assert check(model.parent, key.signer()).trust != record.trust


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1()])
def test_other_curves(model: Path, tmp_path: Path, curve: ec.EllipticCurve) -> None:
    key = make_key(tmp_path / "other", curve=curve)
    sign(model, model / "model.sig", key)
    assert state(model.parent, key.signer()) == ("valid", "")


def flip(path: Path) -> None:
    with path.open("r+b") as stream:
        stream.seek(100_000)
        byte = stream.read(1)
        stream.seek(100_000)
        stream.write(bytes([byte[0] ^ 1]))


def rename(folder: Path) -> None:
    (folder / "more" / "notes.txt").rename(folder / "more" / "other.txt")


def link(folder: Path) -> None:
    path = folder / "more" / "notes.txt"
    path.rename(folder.parent.parent / "notes.txt")
    path.symlink_to(folder.parent.parent / "notes.txt")


def folder_link(folder: Path) -> None:
    (folder / "more2").symlink_to(folder / "more")


CHANGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a flipped byte": (
        lambda folder: flip(folder / "model.safetensors"),
        "not as it was signed: model.safetensors",
    ),
    "an added file": (lambda folder: (folder / "evil.py").write_text("x"), "there, and not signed: evil.py"),
    "a hidden one": (lambda folder: (folder / ".x").write_text("x"), "there, and not signed: .x"),
    "a removed file": (
        lambda folder: (folder / "more" / "notes.txt").unlink(),
        "signed, and not there: more/notes.txt",
    ),
    "a renamed file": (
        rename,
        "signed, and not there: more/notes.txt; there, and not signed: more/other.txt",
    ),
    "a link": (link, "more/notes.txt is a link, which the signature does not cover"),
    "a link to a folder": (folder_link, "more2 is a link, which the signature does not cover"),
    "a pipe": (lambda folder: os.mkfifo(folder / "pipe"), "pipe is no file"),
    "an emptied file": (
        lambda folder: (folder / "more" / "notes.txt").write_text(""),
        "not as it was signed",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_was_changed_is_named(model: Path, key: Key, name: str) -> None:
    change, reason = CHANGES[name]
    change(model)
    found, why = state(model.parent, key.signer())
    assert (found, reason in why) == ("invalid", True), why
    assert not verified_by_the_package(model, model / "model.sig", key)


def test_files_of_git_are_not_covered(model: Path, key: Key) -> None:
    (model / ".gitattributes").write_text("x")
    (model / ".git").mkdir()
    (model / ".git" / "HEAD").write_text("x")
    assert state(model.parent, key.signer()) == ("valid", "")
    assert verified_by_the_package(model, model / "model.sig", key)
    (model / "more" / ".gitattributes").write_text("x")
    assert state(model.parent, key.signer())[0] == "invalid"


def test_nothing_is_read_where_names_differ(model: Path, key: Key) -> None:
    steps: list[int] = []
    (model / "evil.py").write_text("x")
    assert check(model.parent, key.signer(), steps=steps).state is SignatureState.INVALID
    assert steps == []


def test_what_was_read_just_now_is_not_read_again(model: Path, key: Key) -> None:
    path = model / "model.safetensors"
    found = path.stat()
    stamp = FileStamp(found.st_size, found.st_mtime_ns, found.st_ino)
    steps: list[int] = []
    known = HashRecord(stamp, "", "0" * 64, 1.0)
    assert check(model.parent, key.signer(), read={str(path): known}, steps=steps).reason.endswith(path.name)
    assert sum(steps) < 1000
    stale = HashRecord(FileStamp(1, 2, 3), "", "0" * 64, 1.0)
    assert check(model.parent, key.signer(), read={str(path): stale}).state is SignatureState.VALID


def test_no_signer_another_key_and_another_kind_are_not_trusted(
    model: Path, key: Key, tmp_path: Path
) -> None:
    assert state(model.parent) == (
        "not_trusted", "it is signed by key, and models.signers has no such signer for it"
    )  # fmt: skip
    other = make_key(tmp_path / "other")
    assert state(model.parent, other.signer("b")) == ("not_trusted", "b: it was made with another key")
    authority = make_authority(tmp_path / "ca")
    assert state(model.parent, authority.signer())[0] == "not_trusted"
    flip(model / "model.safetensors")  # who signs anew what he changed is not trusted either
    sign(model, model / "model.sig", other)
    assert state(model.parent, key.signer())[0] == "not_trusted"


def test_by_a_certificate(model: Path, key: Key, tmp_path: Path) -> None:
    authority, other = make_authority(tmp_path / "ca"), make_authority(tmp_path / "other")
    sign(model, model / "model.sig", authority)
    assert state(model.parent, key.signer(), other.signer("other"), authority.signer()) == ("valid", "")
    found, why = state(model.parent, other.signer())
    assert (found, "not of these authorities" in why) == ("not_trusted", True)
    flip(model / "model.safetensors")
    assert state(model.parent, authority.signer())[0] == "invalid"


def edited(path: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_a_signature_with_another_statement_is_invalid(model: Path, key: Key, tmp_path: Path) -> None:
    path = model / "model.sig"
    signature = json.loads(path.read_text())["dsseEnvelope"]["signatures"]
    (model / "evil.py").write_text("x")
    sign(model, path, key)
    edited(path, lambda document: document["dsseEnvelope"].update(signatures=signature))
    assert state(model.parent, key.signer()) == ("invalid", "it does not match its own statement")
    edited(path, lambda document: document["verificationMaterial"]["publicKey"].pop("hint"))
    assert state(model.parent, key.signer())[0] == "not_trusted"  # it may be of any key
    authority = make_authority(tmp_path / "ca")
    sign(model, path, authority)
    edited(path, lambda document: document["dsseEnvelope"].update(signatures=signature))
    assert state(model.parent, authority.signer()) == ("invalid", "it does not match its own statement")


@pytest.mark.parametrize(
    "edit",
    [
        lambda document: document["dsseEnvelope"].update(signatures=[]),
        lambda document: document["dsseEnvelope"].update(signatures="x"),
        lambda document: document["dsseEnvelope"].pop("signatures"),
        lambda document: document.update(mediaType="text/plain"),
        lambda document: document.pop("mediaType"),
        lambda document: document["verificationMaterial"].update(tlogEntries=5),
    ],
)
def test_a_bundle_that_the_package_can_not_use_is_invalid(
    model: Path, key: Key, edit: Callable[[dict[str, Any]], None]
) -> None:
    edited(model / "model.sig", edit)
    found, why = state(model.parent, key.signer())
    assert (found, bool(why)) == ("invalid", True)


@pytest.mark.parametrize("size", [0, 1, 300, 1400])
def test_a_signature_that_is_cut_short_is_invalid(model: Path, key: Key, size: int) -> None:
    os.truncate(model / "model.sig", size)
    assert state(model.parent, key.signer()) == ("invalid", "it is no JSON")


def test_garbage_and_a_huge_file_are_invalid(model: Path, key: Key) -> None:
    (model / "model.sig").write_bytes(os.urandom(2000))
    assert state(model.parent, key.signer()) == ("invalid", "it is no JSON")
    with (model / "model.sig").open("wb") as stream:
        stream.truncate(1 << 40)
    assert state(model.parent, key.signer()) == ("invalid", "it is larger than 4 MiB")


def test_a_file_alone(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "models" / "tiny.gguf"
    gguf(path)
    sign(path, path.with_name("tiny.gguf.sig"), key)
    assert state(path.parent, key.signer()) == ("valid", "")
    flip(path)
    assert state(path.parent, key.signer()) == ("invalid", "not as it was signed: .")


@pytest.mark.parametrize("kind", ["shards", "blake2", "blake3", "blake3 shards"])
def test_other_ways_of_hashing(model: Path, key: Key, kind: str) -> None:
    import model_signing  # noqa: PLC0415

    config = model_signing.hashing.Config()
    algorithm: Any = kind.split(maxsplit=1)[0] if kind.startswith("blake") else "sha256"
    if "shards" in kind:
        config.use_shard_serialization(hashing_algorithm=algorithm, shard_size=1000)
    else:
        config.use_file_serialization(hashing_algorithm=algorithm)
    sign(model, model / "model.sig", key, hashing=config)
    assert state(model.parent, key.signer()) == ("valid", "")
    flip(model / "model.safetensors")
    found, why = state(model.parent, key.signer())
    assert (found, "model.safetensors" in why) == ("invalid", True)
    os.truncate(model / "model.safetensors", 10**9)
    assert state(model.parent, key.signer())[0] == "invalid"


def test_version_0_2_of_the_format(model: Path, key: Key) -> None:
    beside = model.with_name("llama.sig")
    (model / "model.sig").unlink()
    sign_as_version_0_2(model, beside, key)
    assert state(model.parent, key.signer()) == ("valid", "")
    assert verified_by_the_package(model, beside, key)
    (model / "evil.py").write_text("x")
    assert state(model.parent, key.signer())[0] == "invalid"
    assert not verified_by_the_package(model, beside, key)


def test_links_that_the_signer_allowed(model: Path, key: Key) -> None:
    import model_signing  # noqa: PLC0415

    link(model)
    config = model_signing.hashing.Config().set_allow_symlinks(allow_symlinks=True)
    sign(model, model / "model.sig", key, hashing=config)
    assert state(model.parent, key.signer()) == ("valid", "")
    folder_link(model)  # the package passes over such a link and all that it leads to
    assert state(model.parent, key.signer())[0] == "invalid"


def test_in_a_hugging_face_cache_its_own_links_are_files(tmp_path: Path, key: Key, model: Path) -> None:
    with Hub(tmp_path / "hub") as hub:
        files = [each for each in model.rglob("*") if each.is_file()]
        hub.publish("owner/model", {str(each.relative_to(model)): each.read_bytes() for each in files})
        download(hub, tmp_path / "home", "owner/model", shared=False)
    cache = tmp_path / "home" / "hub"
    assert state(cache, key.signer()) == ("valid", "")
    path = next(cache.glob("models--*/snapshots/*/more/notes.txt"))
    path.unlink()
    path.symlink_to(model / "more" / "notes.txt")
    assert "is a link" in state(cache, key.signer())[1]


def test_without_the_package_it_says_what_to_install(
    model: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [each for each in sys.modules if each.partition(".")[0] == "model_signing"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "model_signing", None)
    found, why = state(model.parent, key.signer())
    assert found == "not_checked"
    assert f"--python {sys.prefix}/bin/python install 'aiidpd[signing]'" in why
    assert state(model.parent)[0] == "not_trusted"


def test_a_key_that_can_not_be_used_says_so(model: Path, key: Key, tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("bad.pem", "can't be used"), ("none", "not exist"), ("pipe", "a named pipe")):
        signer = Signer("bad", SignerKind.KEY, public_key=str(tmp_path / name))
        found, why = state(model.parent, signer)
        assert (found, reason in why) == ("not_checked", True), why
        assert state(model.parent, signer, key.signer()) == ("valid", "")
        authority = make_authority(tmp_path / "ca")
        sign(model, model / "model.sig", authority)
        bad = Signer("bad", SignerKind.CERTIFICATE, certificates=(str(tmp_path / name),))
        assert state(model.parent, bad)[0] == "not_checked"
        sign(model, model / "model.sig", key)


def test_a_file_that_changes_while_it_is_read_is_neither_right_nor_wrong(model: Path, key: Key) -> None:
    (found,) = scanned(model.parent).models

    def grow(_count: int) -> None:
        with (model / "model.safetensors").open("ab") as stream:
            stream.write(b"x")

    record = check_signature(SignatureWanted(found, (key.signer(),)), {}, grow, lambda: 5.0)
    assert record is not None
    assert record.state is SignatureState.NOT_CHECKED
    assert "changed while it was read" in record.reason


def test_a_folder_without_end_is_given_up(model: Path, key: Key, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covered, "MOST_ENTRIES", 3)
    assert state(model.parent, key.signer()) == ("not_checked", "the folder has more than 3 entries")


def test_sigstore_without_the_network_says_what_it_takes(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = dict(os.environ)

    def unreachable(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    as_sigstore(model / "model.sig", sigstore_certificate("a@example.org", "https://issuer.example.org"))
    assert state(model.parent)[0] == "not_trusted"
    found, why = state(model.parent, SIGSTORE, SIGSTORE)
    assert found == "not_checked"
    assert "roots of trust can't be fetched" in why
    assert "trust_config of the signer s" in why
    assert dict(os.environ) == environment
    (tmp_path / "trust.json").write_text("{}")
    offline = Signer(
        "s", SignerKind.SIGSTORE, identity="a", issuer="b", trust_config=str(tmp_path / "trust.json")
    )
    assert "the signer s can't be used" in state(model.parent, offline)[1]


EDITS = st.sampled_from(["flip", "add", "remove", "rename", "empty", "folder", "git", "touch"])


def edit_file(edit: str, model: Path, path: Path, number: int) -> None:
    named = path.name not in ("config.json", "model.bin")  # without those two it is no model
    edits: dict[str, Callable[[], Any]] = {
        "flip": lambda: path.write_bytes(b"x" + path.read_bytes()[1:]),
        "add": lambda: (path.parent / f"new{number}").write_bytes(b"new"),
        "remove": path.unlink if named else lambda: None,
        "rename": (lambda: path.rename(path.with_name(f"{path.name}{number}"))) if named else lambda: None,
        "empty": lambda: path.write_bytes(b""),
        "folder": lambda: (model / f"empty{number}").mkdir(exist_ok=True),
        "git": lambda: (model / ".gitignore").write_bytes(b"x"),
        "touch": lambda: os.utime(path, (number, number)),
    }
    edits[edit]()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(edits=st.lists(st.tuples(EDITS, st.integers(0, 5)), max_size=3))
def test_it_agrees_with_the_package_whatever_is_edited(
    tmp_path_factory: pytest.TempPathFactory, edits: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("edited")
    model, key = folder / "models" / "m", make_key(folder / "keys")
    (model / "sub").mkdir(parents=True)
    for name in ("config.json", "model.bin", "sub/x.txt", "sub/y.txt"):
        (model / name).write_bytes(b"{}" + name.encode())
    sign(model, model / "model.sig", key)
    for edit, number in edits:
        files = sorted(each for each in model.rglob("*") if each.is_file() and each.name != "model.sig")
        edit_file(edit, model, files[number % len(files)], number)
    expected = verified_by_the_package(model, model / "model.sig", key)
    assert (state(model.parent, key.signer())[0] == "valid") is expected
    shutil.rmtree(folder)
