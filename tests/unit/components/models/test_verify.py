"""Verification of real files: right, rotten, without proof, changed, gone; and what it leaves behind."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.models import reading
from aiidpd.components.models.reading import FileChanged, read_through, sample_of
from aiidpd.components.models.record import HashRecord, ModelRecords
from aiidpd.components.models.registry import Known, sha256_of
from aiidpd.components.models.scanned import FileStamp, ScannedFile
from aiidpd.components.models.verify import VerifyCancelled, VerifyControl, verify, wanted_of
from aiidpd.contracts.backups import BackupCatalog, CatalogFile
from aiidpd.formats.model_files import Algorithm, Proof
from tests.fakes.hub import git_sha1
from tests.unit.components.models.site import folder_model, known_of

CONTENT = os.urandom(3 * 2**20 + 12_345)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def a_file(path: Path, proof: Proof | None = None) -> ScannedFile:
    path.write_bytes(CONTENT)
    found = path.stat()
    stamp = FileStamp(found.st_size, found.st_mtime_ns, found.st_ino)
    return ScannedFile(str(path), (path.name,), stamp, found.st_dev, proof)


def flip(file: ScannedFile) -> None:
    """Change a byte, and neither size nor time: rot."""
    with Path(file.path).open("r+b") as stream:
        stream.seek(1_000_000)
        byte = stream.read(1)
        stream.seek(1_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    os.utime(file.path, ns=(file.stamp.mtime_ns, file.stamp.mtime_ns))


@pytest.mark.parametrize(
    "proof", [Proof(Algorithm.SHA256, SHA256), Proof(Algorithm.GIT_SHA1, git_sha1(CONTENT))]
)
def test_a_right_file_is_right_and_a_flipped_bit_is_named(tmp_path: Path, proof: Proof) -> None:
    file, known = a_file(tmp_path / "a", proof), Known(known_of().scan, ModelRecords())
    control = VerifyControl()
    assert verify([wanted_of(known, each) for each in [file]], control, lambda: 5.0).right == (file.path,)
    assert control.bytes_done == len(CONTENT)
    assert control.take() == {file.path: HashRecord(file.stamp, "", SHA256, 5.0)}
    flip(file)
    found = verify([wanted_of(known, each) for each in [file]], control, lambda: 6.0)
    ((path, reason),) = found.damaged
    assert path == file.path
    assert f"by the cache with {proof.hex[:12]}" in reason
    record = control.take()[file.path]
    assert record.damaged
    damaged = replace(known, records=ModelRecords(hashes={file.path: record}))
    assert sha256_of(damaged, file) == ("", "")


def test_without_a_proof_the_first_reading_is_the_measure_of_the_next(tmp_path: Path) -> None:
    file, known = a_file(tmp_path / "a"), Known(known_of().scan, ModelRecords())
    control = VerifyControl()
    assert verify([wanted_of(known, each) for each in [file]], control, lambda: 5.0).new == (file.path,)
    known = replace(known, records=ModelRecords(hashes=control.take()))
    assert sha256_of(known, file) == (SHA256, "reading")
    assert verify([wanted_of(known, each) for each in [file]], control, lambda: 6.0).right == (file.path,)
    flip(file)
    for _ in range(2):  # the damage is no new measure
        found = verify([wanted_of(known, each) for each in [file]], control, lambda: 7.0)
        assert "by an earlier reading" in found.damaged[0][1]
        known = replace(known, records=ModelRecords(hashes=control.take()))


def test_the_hash_of_the_backup_counts(tmp_path: Path) -> None:
    file = a_file(tmp_path / "a")
    copied = CatalogFile(len(CONTENT), file.stamp.mtime_ns // 10**6, SHA256)
    catalog = BackupCatalog(str(tmp_path), "/b", "s", 1.0, 1.0, {"a": copied})
    known = Known(known_of().scan, ModelRecords(), catalog=catalog, source=str(tmp_path))
    assert sha256_of(known, file) == (SHA256, "backup")
    assert verify([wanted_of(known, each) for each in [file]], VerifyControl(), lambda: 5.0).right == (
        file.path,
    )
    flip(file)
    assert (
        "by the backup"
        in verify([wanted_of(known, each) for each in [file]], VerifyControl(), lambda: 5.0).damaged[0][1]
    )


def test_a_file_that_changed_or_is_gone_is_neither_right_nor_damaged(tmp_path: Path) -> None:
    changed, gone, pipe = (a_file(tmp_path / name) for name in "abc")
    os.utime(changed.path, (1, 1))
    Path(gone.path).unlink()
    Path(pipe.path).unlink()
    os.mkfifo(pipe.path)
    found = verify(
        [wanted_of(known_of(), each) for each in [changed, gone, pipe]], VerifyControl(), lambda: 1.0
    )
    assert [path for path, _ in found.skipped] == [changed.path, gone.path, pipe.path]
    assert found.damaged == ()


def test_a_file_that_changes_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file = a_file(tmp_path / "a")

    def grow(_count: int) -> None:
        with Path(file.path).open("ab") as stream:
            stream.write(b"x")

    with pytest.raises(FileChanged):
        read_through(file.path, file.stamp, (hashlib.sha256(),), grow)


@pytest.mark.parametrize("flags", [0, 0x80])
def test_every_way_of_reading_gives_the_same_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: int
) -> None:
    monkeypatch.setattr(reading, "_DONTCACHE", flags)
    for size in (0, 1, 4095, 4096, reading.CHUNK_BYTES - 1, reading.CHUNK_BYTES, reading.CHUNK_BYTES + 1):
        path = tmp_path / str(size)
        path.write_bytes((CONTENT * 2)[:size])
        found = path.stat()
        digest = hashlib.sha256()
        read_through(
            str(path), FileStamp(size, found.st_mtime_ns, found.st_ino), (digest,), lambda _count: None
        )
        assert digest.hexdigest() == hashlib.sha256((CONTENT * 2)[:size]).hexdigest()


def test_a_cancelled_verification_ends_with_the_next_piece(tmp_path: Path) -> None:
    file = a_file(tmp_path / "a")
    with pytest.raises(VerifyCancelled):
        verify([wanted_of(known_of(), each) for each in [file]], VerifyControl(cancelled=True), lambda: 1.0)


def test_a_sample_sees_beginning_middle_and_end(tmp_path: Path) -> None:
    file = a_file(tmp_path / "a")
    same = sample_of(file.path, file.stamp)
    assert sample_of(a_file(tmp_path / "b").path, a_file(tmp_path / "b").stamp) == same
    for at in (0, len(CONTENT) // 2, len(CONTENT) - 1):
        other = a_file(tmp_path / "c")
        with Path(other.path).open("r+b") as stream:
            stream.seek(at)
            stream.write(bytes([CONTENT[at] ^ 1]))
        os.utime(other.path, ns=(other.stamp.mtime_ns, other.stamp.mtime_ns))
        assert sample_of(other.path, other.stamp) != same


def test_all_files_of_a_real_model_are_read(tmp_path: Path) -> None:
    folder_model(tmp_path / "llama")
    known = known_of(tmp_path)
    (model,) = known.scan.models
    control = VerifyControl()
    assert len(verify([wanted_of(known, each) for each in model.files], control, lambda: 1.0).new) == 2
    assert control.files_done == 2
