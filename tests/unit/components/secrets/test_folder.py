"""Folders of keys: what is safe is used, what is not is refused, and a file is whole or not there."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from aiidpd.components.secrets.folder import KeyFolder
from aiidpd.components.secrets.problem import Refused, SecretsError
from tests.unprivileged import as_nobody

ROOT = os.geteuid() == 0


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder.open(str(tmp_path / "etc/keys"), create=True)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(path: Path) -> list[str]:
    return sorted(each.name for each in path.iterdir())


def test_a_folder_is_made_for_its_owner_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with KeyFolder.open(str(tmp_path / "etc/keys"), create=True) as folder:
            folder.write("a", b"secret")
    finally:
        os.umask(before)
    assert mode(tmp_path / "etc") == 0o755
    assert mode(tmp_path / "etc/keys") == 0o700
    assert mode(tmp_path / "etc/keys/a") == 0o600
    assert names(tmp_path / "etc/keys") == ["a"]


def test_one_that_is_not_there_is_made_by_who_wants_that_alone(tmp_path: Path) -> None:
    with pytest.raises(SecretsError, match="does not exist; `aiidpctl secrets generate`"):
        KeyFolder.open(str(tmp_path / "keys"))
    assert not (tmp_path / "keys").exists()


def test_a_link_on_the_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real/keys").mkdir(parents=True)
    (tmp_path / "real/keys").chmod(0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real/last").symlink_to("keys")
    for path in ("link/keys", "real/last"):
        with pytest.raises(Refused, match="it is a link; give the path without links"):
            KeyFolder.open(str(tmp_path / path), create=True)
    KeyFolder.open(str(tmp_path / "real/../real/keys")).close()


@pytest.mark.parametrize("bits", [0o020, 0o002, 0o022])
def test_a_parent_that_others_may_write_is_refused(tmp_path: Path, bits: int) -> None:
    parent = tmp_path / "parent"
    (parent / "keys").mkdir(parents=True, mode=0o700)
    parent.chmod(0o755 | bits)
    with pytest.raises(Refused, match=f"others may write it .*chmod go-w {parent}$"):
        KeyFolder.open(str(parent / "keys"))
    parent.chmod(0o1777)
    KeyFolder.open(str(parent / "keys")).close()  # nobody may exchange what is in it, as in /tmp


@pytest.mark.parametrize(
    ("bits", "words"), [(0o750, "open"), (0o701, "open"), (0o1777, "write"), (0o770, "write")]
)
def test_a_folder_that_others_may_open_is_refused(tmp_path: Path, bits: int, words: str) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys").chmod(bits)
    with pytest.raises(Refused, match=f"others may {words} it"):
        KeyFolder.open(str(tmp_path / "keys"))
    if words == "open":
        KeyFolder.open(str(tmp_path / "keys"), private=False).close()


@pytest.mark.skipif(not ROOT, reason="only root can give a folder away")
def test_a_parent_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs/keys").mkdir(parents=True, mode=0o700)
    os.chown(tmp_path / "theirs", 1234, 1234)
    with pytest.raises(Refused, match="belongs to user 1234"):
        KeyFolder.open(str(tmp_path / "theirs/keys"))


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Refused, match="it is no folder"):
        KeyFolder.open(str(tmp_path / "file"), create=True)
    with pytest.raises(Refused, match="it is no folder"):
        KeyFolder.open(str(tmp_path / "file/keys"), create=True)
    with pytest.raises(Refused, match="no folder for keys"):
        KeyFolder.open("/")


def test_a_folder_that_is_exchanged_meanwhile_leads_nowhere_else(folder: KeyFolder, tmp_path: Path) -> None:
    (tmp_path / "etc").rename(tmp_path / "moved")
    (tmp_path / "etc").symlink_to("/nowhere")
    folder.write("a", b"secret")
    assert (tmp_path / "moved/keys/a").read_bytes() == b"secret"


def test_a_link_in_the_place_of_a_file_is_not_followed(folder: KeyFolder, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"theirs")
    (tmp_path / "etc/keys/a").symlink_to(victim)
    with pytest.raises(SecretsError, match="it is a link"):
        folder.read("a")
    folder.write("a", b"ours")
    assert victim.read_bytes() == b"theirs"
    assert folder.read("a") == b"ours"


def test_what_is_no_file_is_not_read_and_hangs_nobody(folder: KeyFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "etc/keys/pipe")
    (tmp_path / "etc/keys/inner").mkdir()
    for name in ("pipe", "inner"):
        with pytest.raises(SecretsError, match="it is no file"):
            folder.read(name)
    with pytest.raises(SecretsError, match="cannot write"):
        folder.write("inner", b"x")
    assert names(tmp_path / "etc/keys") == ["inner", "pipe"]


def test_a_file_that_is_too_large_is_refused(folder: KeyFolder, tmp_path: Path) -> None:
    with (tmp_path / "etc/keys/large").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(SecretsError, match="larger than"):
        folder.read("large")


def test_what_a_call_that_was_killed_left_is_written_over(folder: KeyFolder, tmp_path: Path) -> None:
    (tmp_path / "etc/keys/.a.tmp").write_bytes(b"half")
    (tmp_path / "etc/keys/.a.tmp").chmod(0o644)
    (tmp_path / "etc/keys/.b.tmp").write_bytes(b"half")
    folder.write("a", b"whole")
    assert folder.read("a") == b"whole"
    with folder.locked():
        assert names(tmp_path / "etc/keys") == [".lock", "a"]
    assert mode(tmp_path / "etc/keys/a") == 0o600
    assert not (tmp_path / "etc/keys/.a.tmp").exists()


def test_a_file_is_removed_once(folder: KeyFolder) -> None:
    folder.write("a", b"x")
    folder.remove("a")
    folder.remove("a")
    assert folder.read("a") is None
    assert folder.facts("a") is None


def test_one_process_at_a_time_changes_keys(folder: KeyFolder, tmp_path: Path) -> None:
    with (
        folder.locked(),
        KeyFolder.open(str(tmp_path / "etc/keys")) as other,
        pytest.raises(SecretsError, match="another `aiidpctl secrets` is at it"),
        other.locked(),
    ):
        raise AssertionError
    with folder.locked():
        pass


@pytest.mark.skipif(not ROOT, reason="only root can give a file away")
def test_a_file_gets_the_owner_that_a_container_needs(folder: KeyFolder, tmp_path: Path) -> None:
    folder.write("a", b"x", uid=1000, gid=2000)
    facts = (tmp_path / "etc/keys/a").stat()
    assert (facts.st_uid, facts.st_gid, stat.S_IMODE(facts.st_mode)) == (1000, 2000, 0o600)


@pytest.mark.skipif(not ROOT, reason="needs root to become a user without rights")
def test_a_user_without_rights_is_told_so(tmp_path: Path) -> None:
    def act() -> None:
        with KeyFolder.open(str(mine), create=True) as folder:
            folder.write("a", b"x", uid=0, gid=0)

    with tempfile.TemporaryDirectory() as place:  # below pytest's folder nobody else may pass
        mine = Path(place) / "mine"
        os.chown(place, 65534, 65534)
        Path(place).chmod(0o711)
        said = as_nobody(act, tmp_path)
    assert said.startswith("SecretsError: cannot write")
    assert said.endswith("only root can give a file away")
