"""restic (pure): its arguments, and its output in words of ours; versions 0.14 and later.

Repository and password are in its environment, never among its arguments, which each user of a machine sees.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from aiidpd.components.backup.offsite.result import Checked, Ending, Failure, Fault, Sent, Sign, words_of
from aiidpd.components.backup.offsite.settings import KEEP, RepositorySettings

TAG: Final = "aiidpd"
_SNAPSHOT_ID: Final = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_GROUP: Final = re.compile(
    r"read group #\d+ of (\d{1,12}) data packs \(out of total (\d{1,12}) packs", re.ASCII
)
_READ: Final = re.compile(r"\s(\d{1,12}) / (\d{1,12}) packs", re.ASCII)
_CODES: Final = {
    3: Failure.INCOMPLETE,
    10: Failure.NO_REPOSITORY,
    11: Failure.LOCKED,
    12: Failure.WRONG_PASSWORD,
    130: Failure.ENDED,
}
_NETWORK: Final = re.compile(
    r"connection (?:refused|reset|timed out|closed|lost)|dial tcp|i/o timeout|no such host|no route to host"
    r"|network is unreachable|unexpected EOF|broken pipe|TLS handshake|ssh: |subprocess ssh|ssh command"
    r"|server response unexpected|50[0234] |context deadline",
    re.IGNORECASE,
)
_FULL: Final = re.compile(r"no space left|disk quota exceeded|quota (?:is )?exceeded|507 |EntityTooLarge")
_ABSENT: Final = re.compile(
    r"does not exist|no such file|not found|NoSuchKey|NoSuchBucket|404|unable to open config file"
)
_DAMAGE: Final = re.compile(r"repository contains errors|ciphertext verification failed")
_WORDS: Final = (
    (re.compile(r"repository is already locked|unable to create lock"), Failure.LOCKED),
    (re.compile(r"wrong password or no key found"), Failure.WRONG_PASSWORD),
    (_FULL, Failure.FULL),
    (_NETWORK, Failure.UNREACHABLE),
)
_MOST: Final = 2**63 - 1


def init() -> tuple[str, ...]:
    """Return the arguments that make a repository."""
    return ("init",)


def backup(*, host: str, snapshot: str, settings: RepositorySettings, parent: str = "") -> tuple[str, ...]:
    """Return the arguments that send the working directory as the local ``snapshot``.

    The path is relative so that each snapshot has the same one: what has not changed since ``parent`` is not
    read again. A hard link changes the ctime of a file and nothing else: it is ignored.
    """
    head: tuple[str, ...] = (
        "backup",
        "--json",
        "--host",
        host,
        "--tag",
        TAG,
        "--tag",
        f"{TAG}={snapshot}",
        "--ignore-ctime",
    )
    if parent:
        head += ("--parent", parent)
    return (*head, *_limit(settings.rate, "--limit-upload"), ".")


def snapshots(host: str) -> tuple[str, ...]:
    """Return the arguments that list our snapshots of ``host``."""
    return ("snapshots", "--json", "--host", host, "--tag", TAG)


def forget(host: str, settings: RepositorySettings) -> tuple[str, ...]:
    """Return the arguments that remove snapshots; the newest always stays."""
    kept: tuple[str, ...] = ()
    for unit in KEEP:
        count = max(getattr(settings, f"keep_{unit}"), unit == "last")
        if count:
            kept += (f"--keep-{unit}", str(int(count)))
    return ("forget", "--host", host, "--tag", TAG, "--group-by", "host", *kept, "--prune")


def check(part: int, parts: int, settings: RepositorySettings) -> tuple[str, ...]:
    """Return the arguments that examine the structure and read the ``part`` of ``parts``, from 1, back."""
    return ("check", f"--read-data-subset={part}/{parts}", *_limit(settings.rate, "--limit-download"))


def unlock() -> tuple[str, ...]:
    """Return the arguments that remove stale locks: those of dead processes, and those of 30 minutes ago."""
    return ("unlock",)


def restore(snapshot: str, to: str) -> tuple[str, ...]:
    """Return the arguments that restore ``snapshot`` into the folder ``to``, and read what was written."""
    return ("restore", snapshot, "--target", to, "--verify")


def sign(line: bytes) -> Sign | None:
    """Return the progress that ``line`` of a backup or restore gives; None where it gives none."""
    document = _object(line)
    if document.get("message_type") != "status":
        return None
    done = document.get("bytes_done", document.get("bytes_restored"))
    files_done = document.get("files_done", document.get("files_restored"))
    return Sign(
        _whole(done),
        _whole(document.get("total_bytes")),
        _whole(files_done),
        _whole(document.get("total_files")),
    )


def summary(line: bytes) -> Sent | None:
    """Return the result of a backup that ``line`` gives; None where it gives none."""
    document = _object(line)
    if document.get("message_type") != "summary":
        return None
    snapshot = document.get("snapshot_id")
    figures = [document.get(key) for key in ("data_added", "total_bytes_processed", "total_files_processed")]
    if not isinstance(snapshot, str) or not _SNAPSHOT_ID.fullmatch(snapshot):
        return None
    if not all(_is_whole(each) for each in figures):
        return None
    new, size, files = map(_whole, figures)
    return Sent(snapshot, new, size, files)


def newest(output: bytes) -> str | None:
    """Return the id of the newest of the snapshots in ``output``, "" for none; None where it is garbage."""
    try:
        listed = json.loads(output)
    except (ValueError, RecursionError):
        return None
    if listed is None:
        return ""
    if not isinstance(listed, list):
        return None
    found = []
    for each in listed:
        identity = each.get("id") if isinstance(each, dict) else None
        if not isinstance(identity, str) or not _SNAPSHOT_ID.fullmatch(identity):
            return None
        found.append((str(each.get("time", "")), identity))
    return max(found)[1] if found else ""


def checked(lines: Iterable[str], ending: Ending) -> Checked | Fault:
    """Return what a check has read and found; a fault where it did not come to a result.

    An error in the middle of a transfer looks like damage to it: it counts as damage only without one.
    """
    read = total = 0
    for line in lines:
        if match := _GROUP.search(line):
            read, total = int(match[1]), int(match[2])
        elif (match := _READ.search(line)) and not total:
            read = total = int(match[2])
    if ending.code == 0:
        return Checked(read, total, "packs")
    fault = fault_of(ending)
    if fault.failure is Failure.DAMAGED:
        return Checked(read, total, "packs", fault.words)
    return fault


def fault_of(ending: Ending) -> Fault:
    """Return why it failed: by what it printed where that says it for sure, else by its exit code."""
    errors = tuple(_message(line) for line in ending.errors)
    words = words_of(errors) or f"it ended with {ending.code} and printed nothing"
    if ending.code < 0:
        return Fault(Failure.ENDED, f"it was ended by signal {-ending.code}; {words}")
    text = "\n".join(errors)
    if "Is there a repository at the following location" in text and _ABSENT.search(text):
        last = Failure.NO_REPOSITORY
    else:
        last = Failure.DAMAGED if _DAMAGE.search(text) else Failure.OTHER
    sure = (failure for pattern, failure in _WORDS if pattern.search(text))
    return Fault(next(sure, _CODES.get(ending.code, last)), words)


def _limit(rate: int, option: str) -> tuple[str, ...]:
    return (option, str(max(1, rate // 1024))) if rate else ()


def _message(line: str) -> str:
    """Return the message of an error, which versions with ``--json`` write as an object."""
    document = _object(line.encode("utf-8", "replace")) if line.startswith("{") else {}
    error = document.get("error")
    found = error.get("message") if isinstance(error, dict) else document.get("message", error)
    item = document.get("item")
    if isinstance(item, str):  # 0.14 leaves the error itself out
        return f"{item}: {found if isinstance(found, str) else 'failed'}"
    return found if isinstance(found, str) else line


def _object(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _is_whole(value: object) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _whole(value: object) -> int:
    return value if isinstance(value, int) and _is_whole(value) else 0
