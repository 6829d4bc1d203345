"""Bundles as the real model_signing writes them, and whatever else lies in their place: read, or refused."""

from __future__ import annotations

import base64
import json
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.formats import der
from aiidpd.formats.signature import BadBundle, Method, Resource, may_be_bundle, parse
from tests.unit.components.models.signing import (
    as_sigstore,
    make_authority,
    make_key,
    sign,
    sigstore_certificate,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model of two files."""
    folder = tmp_path_factory.mktemp("signed") / "model"
    (folder / "more").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a" * 1000)
    (folder / "more" / "b.bin").write_bytes(b"b")
    return folder


@pytest.fixture(scope="module")
def bundle(folder: Path) -> bytes:
    """Return the signature of the model by a key."""
    path = folder.with_name("a.sig")
    sign(folder, path, make_key(folder.with_name("keys")))
    return path.read_bytes()


def test_a_signature_by_a_key(bundle: bytes) -> None:
    found = parse(bundle)
    assert found.method is Method.KEY
    assert len(found.key_hint) == 64
    assert (found.identity, found.issuer) == ("", "")
    statement = found.statement
    assert (statement.hash_type, statement.shard_bytes, statement.follows_links) == ("sha256", 0, False)
    assert list(statement.resources) == ["a.bin", "more/b.bin"]
    assert not statement.of_one_file
    assert PurePosixPath(".git") in statement.ignored


def test_one_file_and_shards(folder: Path, tmp_path: Path) -> None:
    import model_signing  # noqa: PLC0415

    key = make_key(tmp_path)
    sign(folder / "a.bin", tmp_path / "one.sig", key)
    found = parse((tmp_path / "one.sig").read_bytes()).statement
    assert (found.of_one_file, found.subject) == (True, "a.bin")
    sharded = model_signing.hashing.Config().use_shard_serialization(shard_size=400)
    sign(folder, tmp_path / "shards.sig", key, hashing=sharded)
    found = parse((tmp_path / "shards.sig").read_bytes()).statement
    assert found.shard_bytes == 400
    assert list(found.resources) == ["a.bin:0:400", "a.bin:400:800", "a.bin:800:1000", "more/b.bin:0:1"]


def test_a_signature_by_a_certificate_claims_no_identity(folder: Path, tmp_path: Path) -> None:
    sign(folder, tmp_path / "a.sig", make_authority(tmp_path))
    found = parse((tmp_path / "a.sig").read_bytes())
    assert (found.method, found.identity, found.issuer) == (Method.CERTIFICATE, "", "")


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("identity", ["release@example.org", "https://github.com/owner/repo"])
def test_sigstore_claims_an_identity_and_an_issuer(
    bundle: bytes, tmp_path: Path, identity: str, old: bool
) -> None:
    path = tmp_path / "a.sig"
    path.write_bytes(bundle)
    as_sigstore(path, sigstore_certificate(identity, "https://issuer.example.org", old=old))
    found = parse(path.read_bytes())
    assert (found.method, found.identity) == (Method.SIGSTORE, identity)
    assert found.issuer == "https://issuer.example.org"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"a": ' * 50_000, "no JSON"),
        (b"9" * 10_000, "no JSON"),
        (b"[]", "no JSON object"),
        (b"{}", "no verification material"),
        (b'{"verificationMaterial": {}}', "no envelope"),
        (b'{"verificationMaterial": {}, "dsseEnvelope": {}}', "no statement"),
        (b'{"verificationMaterial": {}, "dsseEnvelope": {"payload": "%"}}', "no base64"),
        (b'{"verificationMaterial": {}, "dsseEnvelope": {"payload": "e30="}}', "something else"),
    ],
)
def test_what_is_no_signature_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(BadBundle, match=reason):
        parse(data)


def changed(bundle: bytes, **predicate: Any) -> bytes:
    """Return ``bundle`` with another predicate."""
    document = json.loads(bundle)
    payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    payload["predicate"].update(predicate)
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("serialization", "reason"),
    [
        (None, "no rules"),
        ({"method": "tensors"}, "not known: tensors"),
        ({"method": "shards", "shard_size": 0}, "no size"),
        ({"method": "shards", "shard_size": "1"}, "no size"),
        ({"method": "shards", "shard_size": 1 << 80}, "no size"),
        ({"method": "shards", "shard_size": 0.5}, "no size"),
        ({"method": "shards", "shard_size": True}, "no size"),
    ],
)
def test_rules_of_hashing_that_make_no_sense(bundle: bytes, serialization: Any, reason: str) -> None:
    with pytest.raises(BadBundle, match=reason):
        parse(changed(bundle, serialization=serialization))


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (None, "lists no files"),
        ([5], "lists no files"),
        ([{"digest": "aa"}], "without name"),
        ([{"name": "a"}], "no hash"),
    ],
)
def test_files_without_name_or_hash(bundle: bytes, resources: Any, reason: str) -> None:
    with pytest.raises(BadBundle, match=reason):
        parse(changed(bundle, resources=resources))


@pytest.mark.parametrize(
    ("material", "reason"),
    [
        ({}, "neither a key nor a certificate"),
        ({"certificate": {}}, "no certificate"),
        ({"certificate": {"rawBytes": "AAAA"}}, "can't be read"),
        ({"x509CertificateChain": {"certificates": []}}, "no certificate"),
        ({"x509CertificateChain": {"certificates": [{}]}, "tlogEntries": [{}]}, "no certificate"),
    ],
)
def test_what_proves_nothing(bundle: bytes, material: Any, reason: str) -> None:
    document = json.loads(bundle)
    document["verificationMaterial"] = material
    with pytest.raises(BadBundle, match=reason):
        parse(json.dumps(document).encode())


def test_a_statement_of_version_0_2_covers_links_and_whole_files(bundle: bytes) -> None:
    document = json.loads(bundle)
    payload: dict[str, Any] = {
        "predicateType": "https://model_signing/Digests/v0.1",
        "subject": [{"name": "./a.bin", "digest": {"sha256": "AB"}}],
    }

    def with_payload() -> bytes:
        document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
        return json.dumps(document).encode()

    found = parse(with_payload()).statement
    assert (found.hash_type, found.shard_bytes, found.follows_links) == ("sha256", 0, True)
    assert found.resources == {"a.bin": Resource("sha256", "ab")}
    payload["subject"] = []
    with pytest.raises(BadBundle, match="no subject"):
        parse(with_payload())


def test_what_is_ignored_stays_within_the_model(bundle: bytes) -> None:
    rules = {"method": "files", "hash_type": "sha256", "ignore_paths": ["/etc", "../x", ".", "a/b", 5]}
    assert PurePosixPath("a/b") in parse(changed(bundle, serialization=rules)).statement.ignored
    assert len(parse(changed(bundle, serialization=rules)).statement.ignored) == 5


def test_other_tools_have_signatures_of_the_same_name() -> None:
    assert may_be_bundle(b' \n{"mediaType"')
    assert not may_be_bundle(b"-----BEGIN PGP SIGNATURE-----")
    assert not may_be_bundle(b"\x89\x01")


@given(st.data())
def test_a_bundle_with_any_bytes_changed_is_read_or_refused(bundle: bytes, data: st.DataObject) -> None:
    changed = bytearray(bundle)
    for _ in range(data.draw(st.integers(1, 5))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    reason = ""
    try:
        parse(bytes(changed[: data.draw(st.integers(0, len(changed)))] or changed))
    except BadBundle as error:
        reason = str(error)
    assert len(reason) < 1000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES, VALUES, VALUES)
def test_any_shape_is_read_or_refused(bundle: bytes, one: Any, two: Any, three: Any, four: Any) -> None:
    document = json.loads(bundle)
    for key, value in (("publicKey", one), ("certificate", two), ("x509CertificateChain", three)):
        shaped = {**document, "verificationMaterial": {key: value, "tlogEntries": four}}
        with_resources = changed(json.dumps(shaped).encode(), resources=[{"name": one, "digest": two}, three])
        for each in (shaped, json.loads(with_resources)):
            try:
                parse(json.dumps(each).encode())
            except BadBundle:
                continue


@given(st.binary(max_size=300))
def test_any_bytes_in_the_place_of_a_certificate(data: bytes) -> None:
    try:
        der.identity_of(data)
    except der.Malformed:
        return


@given(st.data())
def test_a_certificate_with_any_bytes_changed(data: st.DataObject) -> None:
    changed = bytearray(CERTIFICATE)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    try:
        identity, issuer = der.identity_of(bytes(changed))
    except der.Malformed:
        return
    assert max(len(identity), len(issuer)) <= 300


def test_a_certificate_without_bounds_is_refused() -> None:
    with pytest.raises(der.Malformed, match="too large"):
        der.identity_of(b"0" * (der.CERTIFICATE_LIMIT_BYTES + 1))


CERTIFICATE = sigstore_certificate("release@example.org", "https://issuer.example.org")
