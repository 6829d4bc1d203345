"""Signatures that the real model_signing makes, by keys and certificates made here."""

from __future__ import annotations

import base64
import hashlib
import json
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aiidpd.components.models.signatures import Signer, SignerKind

ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
OLD_ISSUER_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")


@dataclass(frozen=True)
class Key:
    """Pair of PEM files."""

    private: Path
    public: Path

    def signer(self, name: str = "vendor", **more: Any) -> Signer:
        return Signer(name, SignerKind.KEY, public_key=str(self.public), **more)


def make_key(folder: Path, name: str = "key", curve: ec.EllipticCurve | None = None) -> Key:
    """Write a key of an elliptic curve."""
    folder.mkdir(parents=True, exist_ok=True)
    private = ec.generate_private_key(curve or ec.SECP256R1())
    key = Key(folder / f"{name}.pem", folder / f"{name}.pub.pem")
    key.private.write_bytes(_private_pem(private))
    key.public.write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return key


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True)
class Authority:
    """Root, intermediate and a certificate for signing, as PEM files."""

    root: Path
    between: Path
    certificate: Path
    private: Path

    def signer(self, name: str = "authority") -> Signer:
        return Signer(name, SignerKind.CERTIFICATE, certificates=(str(self.root),))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    authority: bool,
    extensions: Iterable[x509.ExtensionType] = (),
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(
                digital_signature=not authority,
                key_cert_sign=authority,
                crl_sign=authority,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    )
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def make_authority(folder: Path) -> Authority:
    """Write a chain of three certificates."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(3)]
    root = _certificate("Root", keys[0], None, keys[0], authority=True)
    between = _certificate("Between", keys[1], root, keys[0], authority=True)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING])
    last = _certificate("Signing", keys[2], between, keys[1], authority=False, extensions=[usage])
    paths = [folder / f"{name}.pem" for name in ("root", "between", "signing")]
    for path, each in zip(paths, (root, between, last), strict=True):
        path.write_bytes(each.public_bytes(serialization.Encoding.PEM))
    private = folder / "private.pem"
    private.write_bytes(_private_pem(keys[2]))
    return Authority(*paths, private)


def sigstore_certificate(identity: str, issuer: str, *, old: bool = False) -> bytes:
    """Return a certificate, DER, with the names that sigstore's authority puts into one."""
    key = ec.generate_private_key(ec.SECP256R1())
    name: x509.GeneralName = x509.RFC822Name(identity)
    if "://" in identity:
        name = x509.UniformResourceIdentifier(identity)
    text = issuer.encode()
    value = text if old else b"\x0c" + bytes([len(text)]) + text
    made = _certificate(
        "unnamed",
        key,
        None,
        key,
        authority=False,
        extensions=[
            x509.SubjectAlternativeName([name]),
            x509.UnrecognizedExtension(OLD_ISSUER_OID if old else ISSUER_OID, value),
        ],
    )
    return made.public_bytes(serialization.Encoding.DER)


def as_sigstore(signature: Path, certificate: bytes) -> None:
    """Have a signature by a key claim to be one by sigstore, with this ``certificate``."""
    document = json.loads(signature.read_text())
    material = document["verificationMaterial"]
    del material["publicKey"]
    material["certificate"] = {"rawBytes": base64.b64encode(certificate).decode()}
    signature.write_text(json.dumps(document))


def sign(model: Path, signature: Path, by: Key | Authority, *, hashing: Any = None) -> None:
    """Sign a folder or file, as the command of the package does: the signature is not covered by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the package and what it stands on
        import model_signing  # noqa: PLC0415 -- it takes half a second

        config = model_signing.signing.Config()
        if isinstance(by, Key):
            config.use_elliptic_key_signer(private_key=by.private)
        else:
            config.use_certificate_signer(
                private_key=by.private,
                signing_certificate=by.certificate,
                certificate_chain=[by.between, by.root],
            )
        given = hashing if hashing is not None else model_signing.hashing.Config()
        given.set_ignored_paths(paths=[signature] if model.is_dir() else [], ignore_git_paths=True)
        config.set_hashing_config(given).sign(model, signature)


def sign_as_version_0_2(model: Path, signature: Path, key: Key) -> None:
    """Sign the files of ``model`` by a statement as version 0.2 of the format had it."""
    files = sorted(each for each in model.rglob("*") if each.is_file() and each != signature)
    digests = {str(each.relative_to(model)): hashlib.sha256(each.read_bytes()).hexdigest() for each in files}
    subjects = [{"name": name, "digest": {"sha256": digest}} for name, digest in digests.items()]
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "predicateType": "https://model_signing/Digests/v0.1",
        "subject": subjects,
        "predicate": {"unused": "Unused, just passed due to API requirements"},
    }
    payload = json.dumps(statement).encode()
    sign(model, signature, key)
    document = json.loads(signature.read_text())
    private = serialization.load_pem_private_key(key.private.read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    kind = "application/vnd.in-toto+json"
    signed = f"DSSEv1 {len(kind)} {kind} {len(payload)} ".encode() + payload
    made = private.sign(signed, ec.ECDSA(hashes.SHA256()))
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    document["dsseEnvelope"]["signatures"] = [{"sig": base64.b64encode(made).decode(), "keyid": ""}]
    signature.write_text(json.dumps(document))


def verified_by_the_package(model: Path, signature: Path, key: Key) -> bool:
    """Return what the package's own verification says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import model_signing  # noqa: PLC0415 -- it takes half a second

        config = model_signing.verifying.Config().use_elliptic_key_verifier(public_key=key.public)
        try:
            config.verify(model, signature)
        except Exception:  # noqa: BLE001 -- it raises of any kind
            return False
    return True
