"""Names in an X.509 certificate that sigstore issued, read from its DER without any proof (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

CERTIFICATE_LIMIT_BYTES: Final = 64 * 1024
_LONGEST: Final = 300  # characters of a name
_SEQUENCE: Final = 0x30
_OID: Final = 0x06
_OCTETS: Final = 0x04
_UTF8: Final = 0x0C
_EXTENSIONS: Final = 0xA3
_MAIL: Final = 0x81
_URI: Final = 0x86
_HIGH_TAG: Final = 0x1F
_LONG: Final = 0x80
_LENGTH_BYTES: Final = 4

_SUBJECT_NAMES: Final = bytes.fromhex("551d11")  # 2.5.29.17
_ISSUER: Final = bytes.fromhex("2b0601040183bf300108")  # 1.3.6.1.4.1.57264.1.8, a UTF8String
_OLD_ISSUER: Final = bytes.fromhex("2b0601040183bf300101")  # 1.3.6.1.4.1.57264.1.1, the text itself


class Malformed(ValueError):
    """Refusal of bytes that are no certificate."""


class Element(NamedTuple):
    """One element: its tag and the bytes of its content."""

    tag: int
    content: bytes


def elements(data: bytes) -> Iterator[Element]:
    """Yield the elements that ``data`` is a sequence of; raises :class:`Malformed`."""
    at = 0
    while at < len(data):
        if at + 2 > len(data) or data[at] & _HIGH_TAG == _HIGH_TAG:
            raise Malformed("it is no DER")
        tag, size = data[at], data[at + 1]
        at += 2
        if size >= _LONG:
            count = size - _LONG
            if not 1 <= count <= _LENGTH_BYTES or at + count > len(data):
                raise Malformed("it is no DER")
            size = int.from_bytes(data[at : at + count], "big")
            at += count
        if at + size > len(data):
            raise Malformed("it is cut short")
        yield Element(tag, data[at : at + size])
        at += size


def identity_of(certificate: bytes) -> tuple[str, str]:
    """Return the identity and the issuer that a sigstore certificate states, empty where it states none.

    Nothing of it is proven: whoever wrote the file wrote the certificate. Raises :class:`Malformed`.
    """
    if len(certificate) > CERTIFICATE_LIMIT_BYTES:
        raise Malformed("its certificate is too large")
    identity, issuer, older = "", "", ""
    for name, value in _extensions(certificate):
        if name == _SUBJECT_NAMES:
            identity = identity or _subject(value)
        elif name == _ISSUER:
            issuer = next((_text(each.content) for each in elements(value) if each.tag == _UTF8), "")
        elif name == _OLD_ISSUER:
            older = _text(value)
    return identity, issuer or older


def _extensions(certificate: bytes) -> Iterator[tuple[bytes, bytes]]:
    signed = _inside(_inside(certificate, _SEQUENCE), _SEQUENCE)
    for each in elements(signed):
        if each.tag != _EXTENSIONS:
            continue
        for extension in elements(_inside(each.content, _SEQUENCE)):
            parts = list(elements(extension.content))
            names = [part.content for part in parts if part.tag == _OID]
            values = [part.content for part in parts if part.tag == _OCTETS]
            if names and values:
                yield names[0], values[0]


def _inside(data: bytes, tag: int) -> bytes:
    """Return the content of the first element of ``data``, which has this ``tag``."""
    first = next(elements(data), None)
    if first is None or first.tag != tag:
        raise Malformed("it is no certificate")
    return first.content


def _subject(value: bytes) -> str:
    names = elements(_inside(value, _SEQUENCE))
    return next((_text(each.content) for each in names if each.tag in (_MAIL, _URI)), "")


def _text(value: bytes) -> str:
    return value[: 4 * _LONGEST].decode("utf-8", "replace")[:_LONGEST]
