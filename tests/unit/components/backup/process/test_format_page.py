"""Commands of docs/backup-format.md, run as they stand there, and its words compared with the code."""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from aiidpd.components.backup.process import drill_record, layout, marker, pins, proofs, store, summary_cache
from aiidpd.components.backup.process.manifest import SCHEMA, FileEntry, FolderEntry, Manifest
from tests.unit.components.backup.conftest import Site
from tests.unit.components.backup.process.trees import described, give_away, own_facts

PAGE = Path(__file__).parents[5] / "docs/backup-format.md"


def commands(heading: str) -> list[str]:
    """Return the commands under a heading of the page."""
    part = PAGE.read_text().partition(f"\n### {heading}\n")[2].partition("\n##")[0]
    found = re.findall(r"^```sh\n(.*?)^```$", part, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found


Run = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def run(missing: Callable[[str, str], None]) -> Run:
    """Return what runs a command of the page, with ``SNAPSHOT`` and ``PLACE`` set."""

    def runs(command: str, snapshot: Path, place: Path, **more: str) -> subprocess.CompletedProcess[bytes]:
        if "rsync" in command and shutil.which("rsync") is None:  # find ends with 0 without it
            missing("rsync", "apt-get install rsync")
        environment = {**os.environ, "SNAPSHOT": str(snapshot), "PLACE": str(place), **more}
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], env=environment, capture_output=True, check=False
        )

    return runs


@pytest.fixture
def snapshot(site: Site) -> Path:
    (site.source / "half.incomplete").unlink()
    (site.source / ".hidden").write_bytes(b"hidden")
    (site.source / "twin").write_bytes(b"hidden")
    (site.source / "-n").write_bytes(b"like an option")
    (site.source / "a:b").write_bytes(b"like a host")
    (site.source / "hub/empty").mkdir()
    (site.source / "hub").chmod(0o750)
    with (site.source / "sparse").open("wb") as file:
        file.truncate(50 << 20)
    return site.target / "snapshots" / site.backup().snapshot


@pytest.fixture
def place(tmp_path: Path) -> Path:
    folder = tmp_path / "place"
    folder.mkdir()
    give_away(folder)
    folder.chmod(0o2750)
    return folder


def contents(root: Path) -> dict[str, tuple[int, bytes]]:
    return {path: (thing.kind, thing.content) for path, thing in described(root).items()}


@pytest.mark.parametrize("way", [0, 1])
def test_a_restore_by_hand_equals_the_source_and_leaves_the_folder_itself(
    run: Run, site: Site, snapshot: Path, place: Path, way: int
):
    before = own_facts(place)
    done = run(commands("Restore all of it")[way], snapshot, place)
    assert done.returncode == 0, done.stderr
    assert contents(place) == contents(site.source)
    assert own_facts(place)[:3] == before[:3]
    assert not (place / "twin").samefile(place / ".hidden")
    assert (place / "sparse").stat().st_blocks == 0
    (modes,) = commands("Give files and folders the modes and times that they had")
    done = run(modes, snapshot, place)
    assert done.returncode == 0, done.stderr
    assert described(place) == described(site.source)
    assert own_facts(place)[:3] == before[:3]


def test_what_the_page_warns_of_is_so(snapshot: Path, place: Path):
    subprocess.run(["cp", "-a", f"{snapshot}/files/.", place], check=True)
    assert (place.stat().st_uid, stat.S_IMODE(place.stat().st_mode)) != (1234, 0o2750)


def test_what_is_missing_is_restored_and_the_rest_stays(run: Run, site: Site, snapshot: Path, place: Path):
    (place / "hub").mkdir()
    give_away(place / "hub")
    (place / "hub").chmod(0o711)
    (place / "config.json").write_bytes(b"newer")
    before = own_facts(place), own_facts(place / "hub")
    (command,) = commands("Restore what is missing, and leave the rest as it is")
    done = run(command, snapshot, place)
    assert done.returncode == 0, done.stderr
    assert contents(place) == {**contents(site.source), "config.json": (stat.S_IFREG, b"newer")}
    assert (own_facts(place)[:3], own_facts(place / "hub")[:3]) == (before[0][:3], before[1][:3])
    assert (place / "hub/blobs/abc").stat().st_mode & stat.S_IWUSR


def test_the_checks_find_a_flipped_bit_and_nothing_else(run: Run, snapshot: Path, place: Path):
    (check,) = commands("Check a snapshot")
    (check_restored,) = commands("Check what was restored")
    assert run(commands("Restore all of it")[0], snapshot, place).returncode == 0
    for command in (check, check_restored):
        done = run(command, snapshot, place)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    for path, command in ((snapshot / "files", check), (place, check_restored)):
        file = path / os.fsdecode(b"odd\n\\\xff")
        file.chmod(0o600)
        file.write_bytes(b"Odd")
        assert run(command, snapshot, place).returncode == 1


def test_a_target_is_moved_with_its_links(run: Run, site: Site, snapshot: Path, tmp_path: Path):
    site.backup()
    (command,) = commands("Move a target to another disk")
    other = tmp_path / "other"
    other.mkdir()
    done = run(command, snapshot, tmp_path, OTHER_DISK=str(other))
    assert done.returncode == 0, done.stderr
    assert described(other, times=False) == described(site.target, times=False)
    site.target = other
    assert site.backup().unchanged


def test_one_model_of_a_cache_becomes_files(run: Run, site: Site, place: Path):
    model = site.source / "hub/models--a"
    (model / "snapshots/1").mkdir(parents=True)
    (model / "snapshots/1/weights").symlink_to("../../../blobs/abc")
    snapshot = site.target / "snapshots" / site.backup().snapshot
    before = own_facts(place)
    (command,) = commands("One model of a Hugging Face cache")
    done = run(command, snapshot, place, MODEL="hub/models--a", REVISION="1")
    assert done.returncode == 0, done.stderr
    assert (place / "1/weights").read_bytes() == (site.source / "hub/blobs/abc").read_bytes()
    assert own_facts(place)[:3] == before[:3]


def test_the_page_names_every_field_of_the_note(site: Site):
    site.backup()
    note = json.loads((site.target / layout.UNCHANGED).read_bytes().partition(b"\n")[2])
    part = PAGE.read_text().partition(f"\n## `{layout.UNCHANGED}`\n")[2].partition("\n## ")[0]
    assert [name for name in (*note, *note["facts"], *note["found"]) if f"`{name}`" not in part] == []


def test_the_page_names_every_field_and_file():
    page = PAGE.read_text()
    names = {each.name for kind in (Manifest, FileEntry, FolderEntry) for each in fields(kind)}
    names |= {
        each.name for kind in (proofs.Proofs, drill_record.Drills, marker.Marker) for each in fields(kind)
    }
    missing = {name for name in names if f"`{name}`" not in page}
    assert missing == set()
    for name in (
        marker.MARKER,
        proofs.PROOFS,
        drill_record.DRILLS,
        pins.PINS,
        summary_cache.CACHE,
        layout.UNCHANGED,
        f"{store.INCOMPLETE}/",
        f"{store.PARTIAL}/",
        f"{store.QUARANTINE}/",
        ".lock",
    ):
        assert f"`{name}`" in page
    assert f"| `schema` | {SCHEMA} |" in page
    assert f"`format` ({marker.FORMAT};" in page
