"""Signature files beside models: where they lie by convention, and what they state. Blocks."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from aiidpd.components.models.scanned import FileStamp, FoundSignature, ScannedModel, shown
from aiidpd.formats.folders import single_name
from aiidpd.formats.huggingface import Repository, folder_of
from aiidpd.formats.model_files import Layout, ModelFiles
from aiidpd.formats.signature import LIMIT_BYTES, BadBundle, Bundle, may_be_bundle, parse

NAME: Final = "model.sig"
"""Name that the tool of OpenSSF Model Signing gives a signature by default."""
_ENDING: Final = ".sig"


@dataclass(frozen=True, slots=True)
class Place:
    """Place of a signature, and the folder or file that it is of.

    ``store`` is the cache that links may lead into; empty where a link is refused.
    """

    path: str
    root: str
    store: str = ""


@dataclass(frozen=True, slots=True)
class Read:
    """Signature that was read. ``bundle`` is None where it has a problem."""

    place: Place
    found: FoundSignature
    data: bytes = b""
    bundle: Bundle | None = None


def find_signature(model: ScannedModel, known: FoundSignature | None = None) -> FoundSignature | None:
    """Return the signature beside ``model``, None where none is; a ``known`` one is not opened again."""
    if known is not None and known.path in {shown(each.path) for each in places(model.model)}:
        with _nothing_there():
            if _stamp(os.stat(known.path)) == known.stamp:  # noqa: PTH116 -- a path may be any bytes
                return known
    read = read_signature(model)
    return read.found if read is not None else None


def read_signature(model: ScannedModel) -> Read | None:
    """Return the first signature that is of ``model``, None where there is none."""
    for place in places(model.model):
        read = _read(place)
        if read is not None and _is_of(read, model.model):
            return _at_its_root(read)
    return None


def places(model: ModelFiles) -> Iterator[Place]:
    """Yield where a signature of ``model`` would lie, the most usual place first."""
    if model.layout is Layout.OLLAMA or not model.files:
        return
    if model.layout is Layout.HUGGING_FACE:
        repository = Path(model.root, folder_of(Repository("model", model.repository)))
        folder = str(repository / "snapshots" / model.revision)
        yield Place(f"{folder}/{NAME}", folder, model.root)
        return
    folder = _folder_of(model)
    if not folder:
        return
    names = {single_name(file.path) for file in model.files}
    if len(names) == 1:
        for file in model.files:
            yield Place(f"{folder}/{file.path}{_ENDING}", f"{folder}/{file.path}")
        (name,) = names
        if name != NAME.removesuffix(_ENDING):
            yield Place(f"{folder}/{name}{_ENDING}", f"{folder}/{model.files[0].path}")
    yield Place(f"{folder}/{NAME}", folder)
    if len(names) > 1 and folder != model.root:
        yield Place(f"{folder}{_ENDING}", folder)


def _folder_of(model: ModelFiles) -> str:
    """Return the folder that names of files start from; an empty text where links hide it."""
    for file in model.files:
        whole = str(Path(model.root, file.at))
        if whole.endswith(f"/{file.path}"):
            return whole.removesuffix(f"/{file.path}")
    return ""


class _nothing_there:  # noqa: N801 -- a statement
    """Passes over a file that is not there, or can't be named."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, OSError | ValueError)


def _read(place: Place) -> Read | None:
    try:
        path = _followed(place)
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    except OSError as error:
        link = error.errno == errno.ELOOP
        return _refused(place, "it is a link" if link else (error.strerror or "error").lower())
    try:
        status = os.fstat(file)
        found = FoundSignature(shown(place.path), _stamp(status))
        problem, data = _content(file, status)
    except OSError as error:
        return _refused(place, (error.strerror or "error").lower())
    finally:
        os.close(file)
    return Read(place, replace(found, problem=problem)) if problem else _parsed(place, found, data)


def _followed(place: Place) -> str:
    """Return the path to open: in a cache a link is followed, if not out of it."""
    if place.store and os.path.islink(place.path):  # noqa: PTH114 -- a path may be any bytes
        path = os.path.realpath(place.path)
        return path if path.startswith(f"{place.store}/") else place.path
    return place.path


def _content(file: int, status: os.stat_result) -> tuple[str, bytes]:
    """Return why the file can't be a signature, and what it holds."""
    if not stat.S_ISREG(status.st_mode):
        return "it is no file", b""
    with open(file, "rb", closefd=False) as stream:
        data = stream.read(LIMIT_BYTES + 1) if status.st_size <= LIMIT_BYTES else b""
    if status.st_size > LIMIT_BYTES or len(data) > LIMIT_BYTES:
        return f"it is larger than {LIMIT_BYTES // 2**20} MiB", b""
    return "", data


def _refused(place: Place, problem: str) -> Read:
    return Read(place, FoundSignature(shown(place.path), FileStamp(0, 0, 0), problem=problem))


def _parsed(place: Place, found: FoundSignature, data: bytes) -> Read | None:
    usual = place.path.endswith(f"/{NAME}")
    if not usual and not may_be_bundle(data):
        return None  # a signature of another tool
    try:
        bundle = parse(data)
    except BadBundle as error:
        return Read(place, replace(found, problem=shown(str(error))), data)
    claims = replace(
        found,
        method=bundle.method.value,
        key_hint=shown(bundle.key_hint),
        identity=shown(bundle.identity),
        issuer=shown(bundle.issuer),
        file_count=len(bundle.statement.resources),
    )
    return Read(place, claims, data, bundle)


def _is_of(read: Read, model: ModelFiles) -> bool:
    """Return whether ``read`` may be of ``model``: a folder may hold the signature of one file in it."""
    if read.bundle is None or not read.bundle.statement.of_one_file:
        return True
    single = [file.path for file in model.files if file.path.rpartition("/")[0] == ""]
    return len(model.files) == 1 and (
        not read.place.path.endswith(f"/{NAME}") or read.bundle.statement.subject in single
    )


def _at_its_root(read: Read) -> Read:
    """Return ``read`` with the file or the folder as its root, as its statement says which was signed."""
    place, bundle = read.place, read.bundle
    if bundle is None or Path(place.root).is_dir() is not bundle.statement.of_one_file:
        return read
    if bundle.statement.of_one_file:
        return replace(read, place=replace(place, root=f"{place.root}/{bundle.statement.subject}"))
    return replace(read, place=replace(place, root=str(Path(place.root).parent)))


def _stamp(found: os.stat_result) -> FileStamp:
    return FileStamp(found.st_size, found.st_mtime_ns, found.st_ino)
