"""Trees of files for tests of restores: descriptions of what there is, and random ones."""

import hashlib
import os
import random
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.requests import RestoreRequest
from aiidpd.components.backup.process.restore import Restore
from aiidpd.components.backup.process.results import RestoreResult

_LARGE = 1 << 20  # bytes


@dataclass(frozen=True)
class Thing:
    """One file, folder or link as any program sees it.

    ``content`` is a link's target too; that of a large file is its hash: a difference would fill the memory.
    """

    kind: int
    mode: int
    mtime_ns: int
    content: bytes
    twins: frozenset[str]


def described(root: Path, *, times: bool = True) -> dict[str, Thing]:
    """Return all below ``root``, by its path."""
    paths = [Path(folder, name) for folder, folders, files in os.walk(root) for name in (*folders, *files)]
    inodes: dict[int, set[str]] = {}
    for path in paths:
        inodes.setdefault(path.lstat().st_ino, set()).add(os.path.relpath(path, root))
    return {os.path.relpath(path, root): _thing(path, inodes, times=times) for path in paths}


def _thing(path: Path, inodes: dict[int, set[str]], *, times: bool) -> Thing:
    status = path.lstat()
    kind = stat.S_IFMT(status.st_mode)
    twins = frozenset(inodes[status.st_ino])
    if kind == stat.S_IFLNK:
        return Thing(kind, 0, 0, os.fsencode(path.readlink()), twins)
    content = path.read_bytes() if kind == stat.S_IFREG else b""
    if len(content) > _LARGE:
        content = hashlib.sha256(content).digest()
    return Thing(kind, stat.S_IMODE(status.st_mode), status.st_mtime_ns if times else 0, content, twins)


def give_away(folder: Path) -> None:
    """Have a folder belong to another user and group, where this user may decide that."""
    if os.geteuid() == 0:
        os.chown(folder, 1234, 1235)


def own_facts(path: Path) -> tuple[int, int, int, int]:
    """Return owner, group, mode and time of a folder itself."""
    status = path.stat()
    return status.st_uid, status.st_gid, status.st_mode, status.st_mtime_ns


def restore(target: Path, destination: Path, control: Control | None = None, **options: Any) -> RestoreResult:
    return Restore(RestoreRequest(str(target), str(destination), **options), control or Control()).execute()


NAMES = st.one_of(
    st.sampled_from(
        [b"a", b"b", b"model.gguf", b"line\nbreak", b"back\\slash", b"\xff\xfe", b"*", b"[x]", b" "]
    ),
    st.just(b"n" * 255),
    st.binary(min_size=1, max_size=20).filter(
        lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..")
    ),
)
PATHS = st.lists(NAMES, min_size=1, max_size=3)
KINDS = st.sampled_from(["file", "file", "file", "folder", "link", "sparse", "hard link"])
MODES = st.sampled_from([0o644, 0o600, 0o755, 0o444, 0o400, 0o666])
TIMES = st.integers(0, 2_000_000_000_000_000_000)
THINGS = st.tuples(PATHS, KINDS, MODES, TIMES, st.binary(max_size=64))
TREES = st.lists(THINGS, min_size=1, max_size=12)


def grow(root: Path, things: list[tuple[list[bytes], str, int, int, bytes]]) -> None:
    """Make a tree; what can't be, since something else has the name, is left out."""
    (root / "always").write_bytes(b"here")
    files: list[Path] = []
    folders: dict[Path, tuple[int, int]] = {}
    for parts, kind, mode, time, content in things:
        path = root.joinpath(*map(os.fsdecode, parts))
        above = path.parents[: len(parts) - 1]
        if any(each.is_symlink() or each.is_file() for each in above) or os.path.lexists(path):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "folder":
            path.mkdir()
            folders[path] = (mode | 0o700, time)
        elif kind == "link":
            path.symlink_to(os.path.relpath(files[-1], path.parent) if files else "nowhere")
        elif kind == "hard link" and files:
            path.hardlink_to(files[-1])
        else:
            with path.open("xb") as file:
                file.write(content)
                if kind == "sparse":
                    file.seek(200_000)
                    file.write(content)
                    file.truncate(400_000)
            path.chmod(mode)
            os.utime(path, ns=(time, time))
            files.append(path)
    for folder, (mode, time) in sorted(folders.items(), reverse=True):
        folder.chmod(mode)
        os.utime(folder, ns=(time, time))


def fill(root: Path, seed: int, count: int = 12, size: int = 200_000) -> None:
    """Fill ``root`` with random files, some small, and links to them."""
    numbers = random.Random(seed)
    root.mkdir(exist_ok=True)
    for index in range(count):
        folder = root / f"models--{index % 3}"
        folder.mkdir(exist_ok=True)
        file = folder / f"part-{index}.safetensors"
        file.write_bytes(numbers.randbytes(size if index % 2 else 500))
        os.utime(file, (index, index))
    (root / "link").symlink_to("models--0/part-0.safetensors")
