"""Signature files beside real models: found where conventions put them, and never followed out of there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aiidpd.components.models import signed
from aiidpd.components.models.record import InspectedRecord
from aiidpd.components.models.scanned import FoundSignature
from aiidpd.formats import signature
from tests.fakes.hub import Hub, download
from tests.unit.components.models.signing import Key, make_key, sign
from tests.unit.components.models.site import folder_model, gguf, records_of, scanned


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return make_key(tmp_path / "keys")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def found(models: Path, known: dict[str, InspectedRecord] | None = None) -> dict[str, FoundSignature | None]:
    return {each.label: each.signature for each in scanned(models, known=known).models}


@pytest.mark.parametrize("name", ["llama/model.sig", "llama.sig"])
def test_of_a_folder(models: Path, key: Key, name: str) -> None:
    folder_model(models / "llama")
    gguf(models / "other.gguf")
    assert found(models) == {"llama": None, "other": None}
    sign(models / "llama", models / name, key)
    signature = found(models)["llama"]
    assert signature is not None
    assert (signature.path, signature.method) == (str(models / name), "key")
    assert (signature.file_count, signature.problem) == (2, "")
    assert found(models)["other"] is None


@pytest.mark.parametrize("name", ["tiny.gguf.sig", "tiny.sig", "model.sig"])
def test_of_a_file(models: Path, key: Key, name: str) -> None:
    gguf(models / "tiny.gguf")
    gguf(models / "other.gguf", seed=3)
    sign(models / "tiny.gguf", models / name, key)
    signature = found(models)["tiny"]
    assert signature is not None
    assert signature.path == str(models / name)
    assert found(models)["other"] is None


def test_of_a_folder_of_files_that_are_a_model_each(models: Path, key: Key) -> None:
    gguf(models / "tiny.gguf")
    gguf(models / "other.gguf", seed=3)
    sign(models, models / "model.sig", key)
    assert {each.path for each in found(models).values() if each} == {str(models / "model.sig")}


def test_of_a_model_in_a_hugging_face_cache(tmp_path: Path, key: Key) -> None:
    plain = tmp_path / "plain"
    folder_model(plain)
    sign(plain, plain / "model.sig", key)
    with Hub(tmp_path / "hub") as hub:
        hub.publish("owner/model", {each.name: each.read_bytes() for each in plain.iterdir()})
        download(hub, tmp_path / "home", "owner/model", shared=False)
    (model,) = scanned(tmp_path / "home" / "hub").models
    assert model.signature is not None
    assert (model.signature.method, model.signature.problem) == ("key", "")
    link = next((tmp_path / "home" / "hub").glob("models--*/snapshots/*/model.sig"))
    link.unlink()
    link.symlink_to(plain / "model.sig")
    (model,) = scanned(tmp_path / "home" / "hub").models
    assert model.signature is not None
    assert model.signature.problem == "it is a link"


def test_one_that_did_not_change_is_not_opened_again(
    models: Path, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_model(models / "llama")
    sign(models / "llama", models / "llama" / "model.sig", key)
    first = scanned(models)
    opened: list[str] = []
    real = signed.parse

    def counted(data: bytes) -> signature.Bundle:
        opened.append("")
        return real(data)

    monkeypatch.setattr(signed, "parse", counted)
    assert found(models, records_of(first))["llama"] == first.models[0].signature
    assert opened == []
    os.utime(models / "llama" / "model.sig", (5, 5))
    assert found(models, records_of(first))["llama"] != first.models[0].signature
    assert len(opened) == 1
    (models / "llama" / "model.sig").unlink()
    assert found(models, records_of(first))["llama"] is None


def test_what_can_not_be_a_signature_has_its_reason_and_is_never_waited_for(models: Path) -> None:
    folder_model(models / "llama")
    path = models / "llama" / "model.sig"

    def problem() -> str:
        signature = found(models)["llama"]
        assert signature is not None
        return signature.problem

    path.write_bytes(b"")
    assert problem() == "it is no JSON"
    path.write_bytes(b'{"verificationMaterial"')
    assert problem() == "it is no JSON"
    with path.open("wb") as stream:
        stream.truncate(signature.LIMIT_BYTES + 1)
    assert problem() == "it is larger than 4 MiB"
    path.unlink()
    os.mkfifo(path)
    assert problem() == "it is no file"
    path.unlink()
    path.mkdir()
    assert problem() == "it is no file"
    path.rmdir()
    path.symlink_to("/etc/hostname")
    assert problem() == "it is a link"


def test_a_file_that_grows_beyond_its_bound_is_left_there(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signed, "LIMIT_BYTES", 2**20)
    path = models / "large.sig"
    models.mkdir()
    path.write_bytes(b"x" * (2**20 + 1))
    file = os.open(path, os.O_RDONLY)
    try:
        before = os.stat_result((0o100644, 1, 1, 1, 0, 0, 10, 0, 0, 0))  # as it was when it was small
        assert signed._content(file, before) == ("it is larger than 1 MiB", b"")
    finally:
        os.close(file)


def test_signatures_of_other_tools_are_passed_over(models: Path) -> None:
    gguf(models / "tiny.gguf")
    (models / "tiny.gguf.sig").write_bytes(b"-----BEGIN PGP SIGNATURE-----\n")
    assert found(models)["tiny"] is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_one_that_may_not_be_read_says_so(models: Path, key: Key) -> None:
    folder_model(models / "llama")
    sign(models / "llama", models / "llama" / "model.sig", key)
    (models / "llama" / "model.sig").chmod(0)
    signature = found(models)["llama"]
    assert signature is not None
    assert signature.problem == "permission denied"
