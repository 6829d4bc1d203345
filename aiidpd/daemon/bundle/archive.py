"""Archive: members made within bounds, without secrets, and written for one user alone."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiidpd.daemon.bundle.known import Secrets
from aiidpd.daemon.bundle.members import LeftOut, Source
from aiidpd.kernel.errors import AiidpdError, Misconfigured
from aiidpd.kernel.errors import describe as in_words
from aiidpd.platform.redaction import REDACTED, Redactor

LARGEST: Final = 2 << 20
"""Bytes of one member; of a longer text the end is taken."""

LARGEST_ALL: Final = 16 << 20
"""Bytes of all members together, before they are packed."""

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Member:
    """One file of the archive. ``redacted`` counts secrets that were taken out; ``cut``: it is an end."""

    name: str
    about: str
    data: bytes
    redacted: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """All members, and the reason of each that is not among them."""

    members: tuple[Member, ...]
    left_out: Mapping[str, str]

    def listed(self) -> dict[str, Any]:
        """Return a document on what is in it."""
        return {
            "members": [
                {
                    "name": each.name,
                    "about": each.about,
                    "bytes": len(each.data),
                    "redacted": each.redacted,
                    "cut": each.cut,
                }
                for each in self.members
            ],
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left_out.items()],
        }


def contents(sources: Sequence[Source], secrets: Secrets) -> Contents:
    """Return what ``sources`` give, without ``secrets``. One that fails costs itself alone."""
    members: list[Member] = []
    left_out: dict[str, str] = {}
    redactor = Redactor()
    room = LARGEST_ALL
    for source in sources:
        try:
            made = source.make()
            if source.name.endswith(".json"):
                # The known ones first: a pattern that finds a part of one would leave the rest of it.
                taken = secrets.take_out_of(made)
                text, cut = json.dumps(redactor.document(taken), indent=1) + "\n", False
                if len(text.encode()) > LARGEST:
                    raise LeftOut(f"it is larger than {LARGEST} bytes")  # noqa: TRY301 -- as those of sources
            else:
                whole = secrets.take_out("\n".join(map(str, made)))
                text, cut = _end(redactor.lines(whole.split("\n")))
        except LeftOut as error:
            left_out[source.name] = redactor.text(secrets.take_out(str(error)))
            continue
        except (AiidpdError, OSError) as error:
            left_out[source.name] = redactor.text(secrets.take_out(in_words(error)))
            continue
        except Exception as error:  # noqa: BLE001 -- a fault of ours is what is being reported
            left_out[source.name] = f"it can't be made: {redactor.text(secrets.take_out(in_words(error)))}"
            continue
        data = text.encode("utf-8", "backslashreplace")
        if secrets.within(data.decode()):
            left_out[source.name] = "a key would be in it"
        elif len(data) > room:
            left_out[source.name] = f"all members together would be larger than {LARGEST_ALL} bytes"
        else:
            room -= len(data)
            members.append(Member(source.name, source.about, data, text.count(REDACTED), cut))
    return Contents(tuple(members), left_out)


def _end(lines: Iterable[str]) -> tuple[str, bool]:
    """Return the last of ``lines`` that have room in one member, and whether some had none."""
    kept: list[str] = []
    size, cut = 0, False
    for line in reversed(list(lines)):
        size += len(line.encode("utf-8", "backslashreplace")) + 1
        if size > LARGEST:
            cut = True
            break
        kept.append(line)
    return "".join(f"{line}\n" for line in reversed(kept)), cut


def write(path: Path, found: Contents, made_at: float) -> None:
    """Write the archive to ``path``, readable for this user alone; raises :class:`Misconfigured`.

    What lies there already is never replaced, nor followed where it is a link.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        remedy = "name another file, or remove that one"
        raise Misconfigured("write", str(path), reason="it exists already", remedy=remedy) from None
    except OSError as error:
        raise _unwritten(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            folder = path.name.partition(".")[0] or "aiidpd-bundle"
            manifest = json.dumps(found.listed(), indent=1).encode() + b"\n"
            with tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name, data in ((MANIFEST, manifest), *((each.name, each.data) for each in found.members)):
                    facts = tarfile.TarInfo(f"{folder}/{name}")
                    facts.size, facts.mode, facts.mtime = len(data), 0o600, int(made_at)
                    archive.addfile(facts, io.BytesIO(data))
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise _unwritten(path, error) from None
        raise


def _unwritten(path: Path, error: OSError) -> Misconfigured:
    reason = (error.strerror or type(error).__name__).lower()
    return Misconfigured(
        "write", str(path), reason=reason, remedy="name a file in a folder of yours, with room"
    )
