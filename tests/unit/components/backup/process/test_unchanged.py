"""Answers to runs that find nothing changed: the same as those of whole runs, or none."""

from __future__ import annotations

import fcntl
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.backup.process import shortcut, unchanged
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.proofs import Proofs, read_proofs, write_proofs
from aiidpd.components.backup.process.protocol import Line, decode_line, encode
from aiidpd.components.backup.process.results import RunResult
from tests.unit.components.backup.conftest import Site
from tests.unit.components.backup.process.places import Place, flip

MODEL = "hub/blobs/abc"


def answered(site: Site) -> RunResult | None:
    """Return the answer to a run now, if there is one, as the daemon reads it."""
    site.now += 60
    request = json.loads(encode(replace(site.request, now=site.now)))
    found = unchanged.answer(request, lambda: None)
    if found is None:
        return None
    line = decode_line(json.dumps({**shortcut._NO_LINE, "run": found}).encode())
    assert line.run is not None
    return line.run


def put(path: Path, content: bytes) -> None:
    """Write a file under the times that it has."""
    before = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(before.st_mode & 0o7777)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def newest(site: Site) -> Path:
    return site.target / "snapshots" / site.snapshots()[-1]


def lose_object(site: Site) -> None:
    next(path for path in site.store.objects.rglob("*") if path.is_file()).unlink()


def note(site: Site, **found: dict[str, str]) -> None:
    proofs, _ = read_proofs(site.target)
    write_proofs(site.target, replace(proofs, **found))


CHANGES: dict[str, Callable[[Site], object]] = {
    "an edit": lambda site: (site.source / "config.json").write_bytes(b"{1}"),
    "an edit under the old time": lambda site: put(site.source / "config.json", b"[]"),
    "a touch": lambda site: os.utime(site.source / "config.json"),
    "a mode": lambda site: (site.source / "config.json").chmod(0o600),
    "a new file": lambda site: (site.source / "new").touch(),
    "a lost file": lambda site: (site.source / MODEL).unlink(),
    "a new name": lambda site: (site.source / MODEL).rename(site.source / "hub/blobs/abd"),
    "another file": lambda site: put((site.source / "config.json").rename(site.source / "x"), b"{}"),
    "a new folder": lambda site: (site.source / "new").mkdir(),
    "a folder's mode": lambda site: (site.source / "hub").chmod(0o700),
    "another link": lambda site: (
        (site.source / "hub/snapshots/model").unlink(),
        (site.source / "hub/snapshots/model").symlink_to("../blobs"),
    ),
    "a pipe": lambda site: os.mkfifo(site.source / "pipe"),
    "a lost content": lose_object,
    "a damaged list": lambda site: flip(newest(site) / "manifest.json", 40),
    "a damaged checksum": lambda site: flip(newest(site) / "SHA256SUMS", -30),
    "no checksums": lambda site: (newest(site) / "SHA256SUMS").unlink(),
    "no files": lambda site: (newest(site) / "files").rename(site.target / "aside"),
    "a damaged marker": lambda site: flip(site.target / "aiidpd-backup.json", 20),
    "damaged proofs": lambda site: flip(site.target / "proofs.json", 90),
    "a damaged content": lambda site: note(site, damaged={"0" * 64: "it reads otherwise"}),
    "a rotten file": lambda site: note(site, rotten={"config.json": "0" * 64}),
    "leftovers": lambda site: (site.store.incomplete / "x").mkdir(),
    "half a copy": lambda site: (site.store.partial / "x").touch(),
    "a newer snapshot": lambda site: (site.store.snapshots / "20990101T000000Z").mkdir(),
    "no snapshot": lambda site: newest(site).rename(site.target / "aside"),
    "other exclusions": lambda site: site.options.update(exclude=("*.tmp",)),
    "another target expected": lambda site: site.options.update(expected="other"),
    "an adoption": lambda site: site.options.update(adopt=True),
    "a clock that was set back": lambda site: setattr(site, "now", site.now - 86_400),
    "no room for a note": lambda site: (site.target / ".unchanged.json.new").mkdir(),
    "nothing known": lambda site: unchanged.forget(str(site.target)),
}
LASTING = (
    "a clock that was set back",
    "a damaged marker",
    "another target expected",
    "an adoption",
    "no room for a note",
    "a newer snapshot",
    "a damaged content",
    "a rotten file",
)
"""Changes after which no run is answered any more, whatever a whole one does."""


def test_an_unchanged_source_has_the_answer_of_a_whole_run(site: Site) -> None:
    (site.source / "outside").symlink_to("/etc/passwd")
    site.backup()
    for _ in range(2):
        found = answered(site)
        assert found is not None
        assert found.left_out == {"outside": "it leads out of the source, to /etc/passwd"}
        assert found == site.backup()


def test_each_answer_confirms_the_snapshot(site: Site) -> None:
    snapshot = site.backup().snapshot
    assert read_proofs(site.target)[0].confirmed == {}
    assert answered(site) is not None
    assert read_proofs(site.target)[0].confirmed == {snapshot: site.now}
    confirmed_at = site.now
    (site.source / "new").touch()
    second = site.backup().snapshot
    assert read_proofs(site.target)[0].confirmed == {snapshot: confirmed_at}
    assert answered(site) is not None
    assert read_proofs(site.target)[0].confirmed == {snapshot: confirmed_at, second: site.now}


@pytest.mark.parametrize("change", CHANGES)
def test_there_is_no_answer_after(site: Site, change: str) -> None:
    site.backup()
    assert answered(site) is not None
    CHANGES[change](site)
    assert answered(site) is None


@pytest.mark.parametrize("what", ["the note", "the program"])
def test_there_is_no_answer_by_another_version_of(
    site: Site, what: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site.backup()
    if what == "the note":
        monkeypatch.setattr(unchanged, "_VERSION", unchanged._VERSION + 1)
    else:
        monkeypatch.setattr(unchanged, "__file__", str(tmp_path / "x.py"))
    assert answered(site) is None


@pytest.mark.usefixtures("no_links")
def test_there_is_no_answer_where_each_snapshot_has_its_own_copies(site: Site) -> None:
    site.backup()
    assert site.backup().unchanged
    assert answered(site) is None


def test_there_is_no_answer_while_another_run_has_the_target(site: Site) -> None:
    site.backup()
    with (site.target / ".lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert answered(site) is None
    assert answered(site) is not None


def test_there_is_no_answer_where_source_and_target_overlap(site: Site, tmp_path: Path) -> None:
    inner = str(site.source / "hub")
    assert unchanged._overlap(str(site.source), inner)
    assert unchanged._overlap(inner, str(site.source))
    assert unchanged._overlap(inner, inner)
    assert unchanged._overlap("/", inner)
    (tmp_path / "way").symlink_to(inner)
    assert unchanged._overlap(str(tmp_path / "way"), f"{site.source}/")
    assert not unchanged._overlap(str(site.source), str(site.target))


def test_a_note_with_any_bit_flipped_is_none(site: Site) -> None:
    site.backup()
    path = site.target / "unchanged.json"
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        assert answered(site) is None, place
        path.write_bytes(whole[:place])
        assert answered(site) is None, place
    path.write_bytes(whole)
    assert answered(site) is not None


def test_a_file_that_changes_while_it_is_copied_leaves_no_note(
    site: Site, at_file: Callable[[int, Callable[[], None]], Control]
) -> None:
    control = at_file(1, lambda: put(site.source / "config.json", b"[]"))
    site.backup(control)
    assert answered(site) is None


@pytest.mark.parametrize("seed", range(12))
def test_whatever_changes_an_answer_is_that_of_a_whole_run(site: Site, seed: int) -> None:
    numbers = random.Random(seed)
    names = [each for each in CHANGES if each not in LASTING]
    site.backup()
    answers = 0
    for _ in range(12):
        if numbers.random() < 0.4:
            name = numbers.choice(names)
            try:
                CHANGES[name](site)
            except OSError:
                continue  # there is nothing to change any more
        found = answered(site)
        again = site.backup()
        if found is not None:
            answers += 1
            assert found == again
    assert answers


def test_the_process_answers_and_notes_an_order_that_comes_meanwhile(site: Site, tmp_path: Path) -> None:
    site.backup()
    line = encode(replace(site.request, now=site.now))
    reading, writing = os.pipe()
    try:
        with (tmp_path / "replies").open("w+b") as replies:
            assert shortcut.reply(line, reading, replies)
            replies.seek(0)
            lines = [decode_line(each) for each in replies]
            assert [each.progress is None for each in lines] == [True] or lines[0].progress is not None
            assert lines[-1].run is not None
            assert lines[-1].run.unchanged
            os.write(writing, b"\n")
            assert not shortcut.reply(line, reading, replies)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize(
    "line", [b"", b"[", b"[]", b"{}", b'{"kind": 1}', b'{"kind": "run"}', b"[" * 100_000]
)
def test_what_is_no_request_for_a_run_is_left_to_whoever_decodes_it(line: bytes, tmp_path: Path) -> None:
    with (tmp_path / "replies").open("w+b") as replies, open(os.devnull, "rb") as orders:  # noqa: PTH123
        assert not shortcut.reply(line, orders.fileno(), replies)
        assert replies.tell() == 0


def test_the_lines_have_all_fields() -> None:
    assert decode_line(json.dumps(shortcut._NO_LINE).encode()) == Line()
    line = decode_line(json.dumps({**shortcut._NO_LINE, "progress": shortcut._LISTING}).encode())
    assert line.progress is not None
    assert line.progress.phase == "listing"


def test_proofs_without_findings_differ_from_others(tmp_path: Path) -> None:
    texts = {'\n"damaged": {},\n"rotten": {},': '"damaged": {},'}
    for proofs, right in (
        (Proofs(), True),
        (Proofs(proven={"0" * 64: 1.0}, confirmed={"x": 2.0}, checked={'\n"damaged": {},\n': 3.0}), True),
        (Proofs(damaged=texts), False),
        (Proofs(rotten=texts), False),
    ):
        write_proofs(tmp_path, proofs)
        assert unchanged._has_no_findings(str(tmp_path)) is right


def test_the_start_loads_nothing_that_takes_long() -> None:
    code = (
        "import sys\nfrom aiidpd.components.backup.process import __main__\n"
        "print(*{'typing', 'dataclasses', 'pathlib', 'inspect', 'threading', 'tempfile'} & set(sys.modules))"
    )
    root = str(Path(unchanged.__file__).parents[4])
    done = subprocess.run(
        [sys.executable, "-S", "-P", "-c", code], env={"PYTHONPATH": root}, capture_output=True, check=True
    )
    assert done.stdout == b"\n"


def test_a_verification_removes_a_damaged_note(place: Place) -> None:
    place.run()
    assert place.verify().healed_total == 0
    flip(place.target / "unchanged.json", 900)
    (found,) = place.verify(heal=False).damaged
    assert (found.path, found.reason) == ("unchanged.json", "unchanged.json does not match its own checksum")
    (healed,) = place.verify().healed
    assert healed.healed_from == "nothing: the next run compares everything"
    assert not (place.target / "unchanged.json").exists()
    assert place.verify().healed_total == 0
