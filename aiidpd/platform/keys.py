"""Strength of keys, and rights of the files that hold them (pure).

:func:`weaknesses` says of one key why it could be guessed: it is short, a placeholder, made of a time, a
pattern. None of its answers holds the key. :func:`shared` finds keys that are in use twice, and
:func:`file_faults` judges mode and owner of a file. A key that a system's generator gave is never weak here.
"""

from __future__ import annotations

import base64
import hashlib
import math
import re
import stat
import string
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

LEAST_BITS: Final = 112
"""Bits below which a key is short; a random UUID has 122."""

LOW_BITS: Final = 64
"""Bits below which what is left of a longer key, less its pattern, is low; random ones stay far above."""

_LONGEST: Final = 4096  # characters that are judged; further ones make no key weaker
_WORD_BITS: Final = 6.0  # a word out of a list of such
_TIME_BITS: Final = 32.0
_DEFLATE_FRAME: Final = 2  # bytes around what is deflated
_HASH_CHARACTERS: Final = 16  # of a hash that are compared
_WINDOW: Final = 3600  # seconds around the time of the file in which a key may have been made of the time

_WORDS: Final = re.compile(
    "|".join(
        sorted(
            (
                *("1234567890", "123456789", "12345678", "123456", "0123456789", "abcdef0123456789"),
                *("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwerty", "asdf", "zxcv", "letmein", "welcome"),
                *("changeme", "change", "replace", "placeholder", "example", "sample", "dummy", "default"),
                *("password", "passwort", "passwd", "passphrase", "secret", "token", "bearer", "private"),
                *("admin", "root", "user", "test", "testing", "demo", "local", "localhost", "internal"),
                *("production", "staging", "server", "service", "inference", "vllm", "llama", "llamacpp"),
                *("ollama", "openai", "sglang", "engine", "model", "models", "key", "your", "super", "some"),
                *("insert", "here", "todo", "none", "null", "empty", "xxxx", "correct", "horse", "battery"),
                *("staple", "with", "this", "that", "please", "very", "long", "string", "random", "not"),
                *("api", "for", "the", "and", "our", "new", "old", "live", "prod", "dev"),
            ),
            key=len,
            reverse=True,
        )
    )
)
_SEPARATORS: Final = re.compile(r"[-_.:/=+ ]")
_TIMES: Final = re.compile(
    r"(?<![0-9])(?:"
    r"20[0-9]{2}[-_./]?(?:0[1-9]|1[0-2])[-_./]?(?:0[1-9]|[12][0-9]|3[01])"  # a day
    r"(?:[-_.T ]?(?:[01][0-9]|2[0-3])[-_.:]?[0-5][0-9](?:[-_.:]?[0-5][0-9])?Z?)?"  # and a time of it
    r"|[1-3][0-9]{9}(?:[0-9]{3}){0,3}(?:\.[0-9]{1,9})?"  # seconds since 1970, or thousandths and finer
    r")(?![0-9])"
)
_UUID_OF_TIME: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[1267][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.IGNORECASE
)
_UUID_RANDOM_BITS: Final = 122.0
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_SIZES: Final = (
    (string.digits, 10),
    (string.digits + "abcdef", 16),
    (string.digits + "ABCDEF", 16),
    (string.ascii_lowercase, 26),
    (string.ascii_uppercase, 26),
    (string.ascii_lowercase + string.digits, 36),
    (string.ascii_uppercase + string.digits, 36),
    (string.ascii_letters, 52),
    (string.ascii_letters + string.digits, 62),
    (string.ascii_letters + string.digits + "-_+/=", 64),
)
_OTHERS: Final = 94  # printable characters of ASCII


class Weakness(StrEnum):
    """Reasons why a key is weak."""

    EMPTY = "empty"
    """There is none."""
    UNFIT = "unfit"
    """A space, a control character or a letter outside of ASCII: no header can hold it."""
    SHORT = "short"
    """Fewer bits than :data:`LEAST_BITS`, even if each character was drawn at random."""
    PLACEHOLDER = "placeholder"
    """Little is left of it without words of examples and defaults."""
    TIMESTAMP = "timestamp"
    """Little is left of it without a date or time; or it is a UUID or a hash of one."""
    LOW_ENTROPY = "low_entropy"
    """It repeats itself, counts up, or has few characters of its alphabet."""


class FileFault(StrEnum):
    """Faults of the rights to a file that holds a key."""

    WORLD_READABLE = "world_readable"
    GROUP_READABLE = "group_readable"
    WRITABLE = "writable"
    """Its group or others may write it."""
    EXECUTABLE = "executable"
    OWNER = "owner"
    """It belongs to somebody else than it should."""
    NO_FILE = "no_file"
    """It is a link, a folder, a pipe or a device."""
    LINKED = "linked"
    """It has a second name: whoever opens that one reads the key."""


@dataclass(frozen=True, slots=True)
class Strength:
    """Judgement on one key."""

    bits: float
    """Bits that it may have at most; it is no proof that it has them."""
    weaknesses: tuple[Weakness, ...]


def strength(key: str, *, made_at: float | None = None) -> Strength:
    """Return how strong ``key`` is at most, and its weaknesses.

    ``made_at``, the time of its file in Unix seconds, also finds hashes of a time around that, as
    ``date +%s | sha256sum`` makes them.
    """
    if not key:
        return Strength(0.0, (Weakness.EMPTY,))
    text = key[:_LONGEST]
    found: list[Weakness] = []
    if not (key.isascii() and key.isprintable()) or " " in key:
        found.append(Weakness.UNFIT)
    bits = _capacity(text)
    if bits < LEAST_BITS:
        found.append(Weakness.SHORT)
    times, words, rest = _rest(text)
    if rest < LOW_BITS:
        bits = min(bits, rest)
    if words and rest < LOW_BITS:
        found.append(Weakness.PLACEHOLDER)
    if times and rest < LOW_BITS:
        found.append(Weakness.TIMESTAMP)
    elif _UUID_OF_TIME.fullmatch(text) or (made_at is not None and _hash_of_time(text, made_at)):
        found.append(Weakness.TIMESTAMP)
        bits = min(bits, _TIME_BITS)
    pattern = _pattern(text)
    if pattern < LOW_BITS and Weakness.SHORT not in found:
        found.append(Weakness.LOW_ENTROPY)
    return Strength(min(bits, pattern) if pattern < LOW_BITS else bits, tuple(found))


def weaknesses(key: str, *, made_at: float | None = None) -> tuple[Weakness, ...]:
    """Return why ``key`` is weak, empty where it is not; see :func:`strength`."""
    return strength(key, made_at=made_at).weaknesses


def shared(keys: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """Return which names share a key with others: each with the names of those, sorted.

    ``keys`` are the keys of each name; no key is in the answer.
    """
    holders: dict[str, set[str]] = {}
    for name, own in keys.items():
        for key in own:
            holders.setdefault(key, set()).add(name)
    found: dict[str, set[str]] = {}
    for names in holders.values():
        for name in names if len(names) > 1 else ():
            found.setdefault(name, set()).update(names - {name})
    return {name: tuple(sorted(others)) for name, others in sorted(found.items())}


def file_faults(mode: int, uid: int, *, owners: Sequence[int], links: int = 1) -> tuple[FileFault, ...]:
    """Return what is wrong with a file that holds a key: its ``st_mode``, owner ``uid`` and ``links``.

    ``owners`` are the users whom it may belong to.
    """
    if not stat.S_ISREG(mode):
        return (FileFault.NO_FILE,)
    faults = (
        (FileFault.WORLD_READABLE, mode & stat.S_IROTH),
        (FileFault.GROUP_READABLE, mode & stat.S_IRGRP),
        (FileFault.WRITABLE, mode & (stat.S_IWGRP | stat.S_IWOTH)),
        (FileFault.EXECUTABLE, mode & (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)),
        (FileFault.OWNER, uid not in owners),
        (FileFault.LINKED, links > 1),
    )
    return tuple(fault for fault, given in faults if given)


def _capacity(text: str) -> float:
    """Return the bits that so many characters of such an alphabet can have."""
    if _UUID.fullmatch(text):
        return _UUID_RANDOM_BITS
    used = set(text)
    size = next((size for letters, size in _SIZES if used <= set(letters)), _OTHERS)
    return len(text) * math.log2(size)


def _rest(text: str) -> tuple[int, int, float]:
    """Return how many times and words ``text`` has, and the bits that it may have with those known."""
    without_times, times = _TIMES.subn("", text)
    without, words = _WORDS.subn("", without_times.lower())
    if not words:
        without = without_times
    left = _SEPARATORS.sub("", without) if times or words else text
    return times, words, times * _TIME_BITS + words * _WORD_BITS + (_capacity(left) if left else 0.0)


def _pattern(text: str) -> float:
    """Return the bits that ``text`` has by its characters, by the steps between them, and deflated."""
    steps = [ord(after) - ord(before) for before, after in pairwise(text)]
    deflate = zlib.compressobj(9, wbits=-15)
    deflated = len(deflate.compress(text.encode("utf-8", "replace")) + deflate.flush()) - _DEFLATE_FRAME
    each = _capacity(text) / len(text)  # a character that deflate could not shorten takes a byte
    return min(_shannon(text), _shannon(steps) + LOW_BITS / 8, deflated * each)


def _shannon(items: Sequence[object]) -> float:
    counts = Counter(items)
    return -sum(many * math.log2(many / len(items)) for many in counts.values()) if items else 0.0


def _hash_of_time(text: str, made_at: float) -> bool:
    """Return whether ``text`` begins as a hash of the seconds at a time around ``made_at`` does."""
    head = text[:_HASH_CHARACTERS]
    return len(head) == _HASH_CHARACTERS and any(
        begin in (head, head.lower()) for begin in _hashed_times(int(made_at))
    )


def _hashed_times(made_at: int) -> Iterator[str]:
    for second in range(max(0, made_at - _WINDOW), made_at + _WINDOW):
        for given in (b"%d" % second, b"%d\n" % second):
            for name in ("md5", "sha1", "sha256"):
                digest = hashlib.new(name, given, usedforsecurity=False)
                yield digest.hexdigest()[:_HASH_CHARACTERS]
                yield base64.b64encode(digest.hexdigest()[:12].encode()).decode()
                yield base64.b64encode(digest.digest()[:12]).decode()
