"""rclone (pure): its arguments, and its output in words of ours; versions 1.53 and later.

A repository is a folder with ``current``, the newest snapshot; ``replaced/ID``, what the upload of snapshot
ID replaced or removed; and a marker, without which nothing is sent: a wrong place has none.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from os import fsencode
from typing import Any, Final

from aiidpd.components.backup.offsite.result import Checked, Ending, Failure, Fault, Sign, words_of
from aiidpd.components.backup.offsite.settings import RepositorySettings

MARKER: Final = "aiidpd-offsite.json"
MARK: Final = b'{"aiidpd": "offsite", "version": 1}\n'
CURRENT: Final = "current"
REPLACED: Final = "replaced"
_COMMON: Final = ("--use-json-log", "--stats", "1s", "--stats-log-level", "NOTICE", "--links")
_CODES: Final = {3: Failure.NO_REPOSITORY, 4: Failure.NO_REPOSITORY, 5: Failure.UNREACHABLE}
_FULL: Final = re.compile(
    r"no space left|remaining disk space|disk quota exceeded|quota ?exceeded|507 |EntityTooLarge",
    re.IGNORECASE,
)
_PASSWORD: Final = re.compile(
    r"couldn't decrypt configuration|unable to decrypt configuration|password is incorrect|bad password"
    r"|using RCLONE_CONFIG_PASS|failed to authenticate decrypted",
    re.IGNORECASE,
)
_NETWORK: Final = re.compile(
    r"connection (?:refused|reset|timed out|closed|lost)|dial tcp|i/o timeout|no such host|no route to host"
    r"|network is unreachable|unexpected EOF|broken pipe|TLS handshake|ssh: |couldn't connect|50[0234] ",
    re.IGNORECASE,
)
_TYPE: Final = re.compile(r"^(.{1,128}?):\s+(\S+)\s*$")
_MOST: Final = 2**63 - 1
_NAMED: Final = 5


def place(repository: str, *parts: str) -> str:
    """Return the path of ``parts`` in ``repository``."""
    joint = "" if repository.endswith((":", "/")) else "/"
    return repository + joint + "/".join(parts) if parts else repository


def read_marker(repository: str) -> tuple[str, ...]:
    """Return the arguments that print the marker."""
    return ("cat", place(repository, MARKER), "--use-json-log")


def write_marker(repository: str) -> tuple[str, ...]:
    """Return the arguments that write the marker from the standard input."""
    return ("rcat", place(repository, MARKER), "--use-json-log")


def list_top(repository: str) -> tuple[str, ...]:
    """Return the arguments that list what lies at the top of ``repository``."""
    return ("lsf", "--max-depth", "1", repository, "--use-json-log")


def list_remotes() -> tuple[str, ...]:
    """Return the arguments that list the remotes with their types, and none of their secrets."""
    return ("listremotes", "--long")


def sync(settings: RepositorySettings, snapshot: str, *, lists: bool) -> tuple[str, ...]:
    """Return the arguments that make the files of ``current`` equal to those of the working directory.

    Then, as ``lists``, what is beside them: until all files are there the checksums are those of before.
    Nothing is removed: what is replaced or gone moves to ``replaced`` under the snapshot's id.
    """
    repository = settings.repository
    which = ("--max-depth", "1") if lists else ("--filter", "+ /files/**", "--filter", "- *")
    limit = ("--bwlimit", f"{settings.rate}B") if settings.rate else ()
    return (
        *("sync", ".", place(repository, CURRENT), "--backup-dir", place(repository, REPLACED, snapshot)),
        *_COMMON,
        *("--create-empty-src-dirs", "-v", *limit, *which),
    )


def compare(settings: RepositorySettings, *, encrypted: bool) -> tuple[str, ...]:
    """Return the arguments that compare size and checksum of all, as the repository knows them."""
    command = "cryptcheck" if encrypted else "check"
    where = place(settings.repository, CURRENT)
    return (command, ".", where, "--one-way", *_COMMON, "--combined", "-")


def read_back(settings: RepositorySettings, names: str) -> tuple[str, ...]:
    """Return the arguments that read the files listed in ``names`` from the repository and compare each."""
    limit = ("--bwlimit", f"{settings.rate}B") if settings.rate else ()
    head = ("check", ".", place(settings.repository, CURRENT), "--one-way", "--download")
    return (*head, *_COMMON, *limit, "--combined", "-", "--files-from-raw", names)


def restore(repository: str, to: str, rate: int) -> tuple[str, ...]:
    """Return the arguments that copy ``current`` to the folder ``to``."""
    limit = ("--bwlimit", f"{rate}B") if rate else ()
    return ("copy", place(repository, CURRENT), to, *_COMMON, "--create-empty-src-dirs", "-v", *limit)


def encrypted(output: str, repository: str) -> bool:
    """Return whether the list of remotes in ``output`` says that ``repository`` is a crypt remote."""
    name = repository.partition(":")[0]
    matches = (_TYPE.match(line) for line in output.splitlines())
    return any(match and match[1] == name and match[2] == "crypt" for match in matches)


def part_of(path: str, parts: int) -> int:
    """Return the part of ``parts``, from 1, that the file ``path`` belongs to for good."""
    digest = hashlib.sha256(fsencode(path)).digest()
    return int.from_bytes(digest[:8], "big") % parts + 1


def sign(line: str) -> Sign | None:
    """Return the progress that ``line`` of the log gives; None where it gives none."""
    stats = _object(line).get("stats")
    if not isinstance(stats, dict):
        return None
    keys = ("bytes", "totalBytes", "transfers", "totalTransfers")
    done, total, files_done, files = (_whole(stats.get(key)) for key in keys)
    return Sign(done, total, files_done, files)


def copied(line: str) -> str:
    """Return the path that ``line`` of the log says was copied, an empty text where it says none.

    What is moved there counts as bytes in its statistics, although nothing is sent.
    """
    document = _object(line)
    text, subject = document.get("msg"), document.get("object")
    if document.get("level") != "info" or not isinstance(text, str) or not isinstance(subject, str):
        return ""
    return subject if "Copied" in text.split("(", 1)[0] else ""


def message(line: str) -> str:
    """Return the text of ``line`` where it is an error, and an empty text for anything else."""
    document = _object(line)
    if not document:  # the last line of one that fails is no JSON
        return line if "Failed to" in line or "ERROR" in line or "Fatal" in line else ""
    if document.get("level") not in ("error", "critical", "fatal"):
        return ""
    subject, text = document.get("object"), document.get("msg")
    return f"{subject}: {text}" if isinstance(subject, str) else str(text)


@dataclass(slots=True)
class Comparison:
    """Counts of a comparison, line by line; the first few names of each kind of difference."""

    same: int = 0
    differ: int = 0
    missing: int = 0
    unread: int = 0
    garbage: int = 0
    names: tuple[str, ...] = ()

    def add(self, line: str) -> None:
        """Count ``line``: a mark, a space and a path."""
        mark, path = line[:1], line[2:]
        if not line:
            return
        if line[1:2] != " " or mark not in "=*+!-":
            self.garbage += 1
        elif mark == "=":
            self.same += 1
        elif mark == "!":
            self.unread += 1
        elif mark in "*+":
            self.differ += mark == "*"
            self.missing += mark == "+"
            if len(self.names) < _NAMED:
                self.names += (f"{path} {'differs' if mark == '*' else 'is missing'}",)


def checked(counts: Comparison, ending: Ending, total: int) -> Checked | Fault:
    """Return what a comparison of ``total`` files has found; a fault where it did not come to a result."""
    bad = counts.differ + counts.missing
    read = counts.same + counts.differ
    if ending.code < 0:
        return fault_of(ending)
    if bad:
        more = f" and {bad - len(counts.names)} more" if bad > len(counts.names) else ""
        return Checked(read, total, "files", words_of((", ".join(counts.names) + more,)))
    if ending.code:
        return fault_of(ending)
    if counts.garbage or counts.unread:
        return Fault(Failure.GARBAGE, f"{counts.garbage + counts.unread} lines that can't be understood")
    return Checked(read, total, "files")


def fault_of(ending: Ending) -> Fault:
    """Return why it failed: by what it printed where that says it, else by its exit code."""
    errors = tuple(text for line in ending.errors if (text := message(line)))
    words = words_of(errors) or f"it ended with {ending.code} and printed no error"
    text = "\n".join(errors)
    if ending.code < 0:
        return Fault(Failure.ENDED, f"it was ended by signal {-ending.code}; {words}")
    for pattern, failure in (
        (_PASSWORD, Failure.WRONG_PASSWORD),
        (_FULL, Failure.FULL),
        (_NETWORK, Failure.UNREACHABLE),
    ):
        if pattern.search(text):
            return Fault(failure, words)
    if "didn't find section in config file" in text:
        return Fault(Failure.NO_REPOSITORY, words)
    return Fault(_CODES.get(ending.code, Failure.OTHER), words)


def _object(line: str) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _whole(value: object) -> int:
    return value if isinstance(value, int) and type(value) is int and 0 <= value <= _MOST else 0
