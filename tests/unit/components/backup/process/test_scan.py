"""Listing of a real source."""

import os
from pathlib import Path

from aiidpd.components.backup.process.plan import Kind
from aiidpd.components.backup.process.scan import scan


def test_a_scan_finds_everything_and_follows_nothing(source: Path):
    (source / "deep" / "er").mkdir(parents=True)
    (source / "empty").mkdir()
    (source / "deep" / "er" / "x").write_bytes(b"abc")
    (source / "link").symlink_to("deep")
    (source / os.fsdecode(b"\xff\n")).touch()
    os.mkfifo(source / "pipe")
    steps: list[int] = []
    found = {entry.path: entry for entry in scan(source, lambda: steps.append(1))}
    assert {path: entry.kind for path, entry in found.items()} == {
        "deep": Kind.FOLDER,
        "deep/er": Kind.FOLDER,
        "empty": Kind.FOLDER,
        "deep/er/x": Kind.FILE,
        "link": Kind.SYMLINK,
        "pipe": Kind.SPECIAL,
        "\udcff\n": Kind.FILE,
    }
    assert found["deep/er/x"].size == 3
    assert found["link"].target == "deep"
    assert len(steps) >= len(found)


def test_a_scan_names_a_folder_that_it_cannot_read(source: Path):
    entries = list(scan(source / "absent", lambda: None))
    assert [(entry.path, entry.kind, entry.note) for entry in entries] == [
        (".", Kind.UNREADABLE, "No such file or directory")
    ]
