"""Damage of a model file: kinds, a sentence for each, and signs of it in its first bytes (pure)."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final


class Damage(StrEnum):
    """Kind of damage that shows without a checksum."""

    EMPTY = "empty"
    INCOMPLETE = "incomplete"
    HTML = "html"
    TEXT = "text"
    LFS_POINTER = "lfs_pointer"
    ZEROED = "zeroed"
    WRONG_MAGIC = "wrong_magic"
    TRUNCATED = "truncated"
    TRAILING = "trailing"
    MALFORMED = "malformed"
    TOO_LARGE = "too_large"
    MISSING = "missing"
    NO_FILE = "no_file"
    UNREADABLE = "unreadable"

    @property
    def sentence(self) -> str:
        """Return what is wrong and what to do, as one sentence."""
        return _SENTENCES[self]


_SENTENCES: Final = {
    Damage.EMPTY: "the file is empty: download it again",
    Damage.INCOMPLETE: "a download that never ended left it behind: download the model again, or delete it",
    Damage.HTML: "a web page was saved in place of the model: log in or accept its licence, then try again",
    Damage.TEXT: "a message of a server was saved in place of the model: read it, then download again",
    Damage.LFS_POINTER: "it is the Git LFS pointer, not what it points to: fetch it with `git lfs pull`",
    Damage.ZEROED: "its beginning is all zeros: space was reserved and never filled, so download it again",
    Damage.WRONG_MAGIC: "it does not begin as a file of its format does: download it again",
    Damage.TRUNCATED: "it is shorter than its own header says: download it again",
    Damage.TRAILING: "bytes follow after its end: something was added to it, so compare it with its source",
    Damage.MALFORMED: "its header contradicts itself: download it again",
    Damage.TOO_LARGE: "its header is larger than any that models have: nothing of it was believed",
    Damage.MISSING: "it is named, but not there: a link leads nowhere, or a part was deleted",
    Damage.NO_FILE: "it is no regular file: a model must be one",
    Damage.UNREADABLE: "the system can't read it: see its reason, and the kernel log for faults of the disk",
}


class Malformed(ValueError):
    """A model file that is not what it should be; beside :class:`OSError`, all that this room raises."""

    def __init__(self, damage: Damage, reason: str) -> None:
        self.damage = damage
        self.reason = reason
        super().__init__(f"{damage}: {reason}")


HEAD_BYTES: Final = 512
"""Bytes of a file that :func:`damage_of_head` needs."""

_LFS: Final = b"version https://git-lfs.github.com/spec/"
_MARKUP: Final = re.compile(rb"\s*<(!doctype\s+html|html|head|body|title|script|meta)\b", re.IGNORECASE)
_MESSAGE: Final = re.compile(
    rb"\s*(<\?xml\b|<error>|\{\s*\"(error|message|detail|code)\"|"
    rb"(entry|repository|file|invalid|access|not|unauthorized|forbidden|too many)\b[\x20-\x7e]*\s*$)",
    re.IGNORECASE,
)


def damage_of_head(head: bytes, *, magic: bytes = b"", text: bool = False) -> Damage | None:
    """Return the damage that the first :data:`HEAD_BYTES` of a file show, or None where they show none.

    A head that begins with ``magic`` is sound. Without a magic, one that is merely unknown shows nothing.
    ``text``: the file may hold text, such as JSON: only pages, pointers and emptiness count.
    """
    if not head:
        return Damage.EMPTY
    if magic and head.startswith(magic):
        return None
    plain = head.removeprefix(b"\xef\xbb\xbf")
    signs = (
        (head.startswith(_LFS), Damage.LFS_POINTER),
        (_MARKUP.match(plain) is not None, Damage.HTML),
        (not any(head), Damage.ZEROED),
        (not text and _MESSAGE.match(plain) is not None, Damage.TEXT),
        (not text and magic != b"", Damage.WRONG_MAGIC),
    )
    return next((damage for shows, damage in signs if shows), None)
