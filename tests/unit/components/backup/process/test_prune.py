"""Prunes of real targets: what goes, what stays, and what a kill in the middle leaves."""

import errno
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process import pins
from aiidpd.components.backup.process import store as stores
from aiidpd.components.backup.process.control import Control
from aiidpd.components.backup.process.models import home_of, homes_of, models_of
from aiidpd.components.backup.process.pinning import change_pin
from aiidpd.components.backup.process.progress import Progress
from aiidpd.components.backup.process.proofs import Proofs, read_proofs, write_proofs
from aiidpd.components.backup.process.protocol import Line, Request, decode_line, encode
from aiidpd.components.backup.process.prune import Prune
from aiidpd.components.backup.process.requests import PinRequest, PruneRequest
from aiidpd.components.backup.process.results import PruneResult
from aiidpd.components.backup.process.store import Store
from aiidpd.components.backup.retention.policy import Policy
from aiidpd.components.backup.retention.snapshots import Rule
from aiidpd.kernel.errors import Conflict, NotFound, Unavailable
from tests.forms import examples, short_and_long
from tests.unit.components.backup.conftest import Site
from tests.unit.components.backup.process.test_run import rewrite_manifest, rot, sums_are_right

LAST = Policy(keep_last=1)
MODEL = "hub/blobs/abc"
DAY = 86_400.0
PROGRAM = (sys.executable, "-P", "-m", "aiidpd.components.backup.process")


def prune(
    site: Site, policy: Policy = LAST, *, dry_run: bool = False, now: float | None = None
) -> PruneResult:
    request = PruneRequest(str(site.target), str(site.source), policy=policy, dry_run=dry_run)
    return Prune(request, Control(), site.now if now is None else now, UTC).execute()


def rules(result: PruneResult) -> dict[str, list[Rule]]:
    return {each.snapshot: [reason.rule for reason in each.reasons] for each in result.decisions}


def edit(site: Site, content: bytes, path: str = "config.json") -> str:
    (site.source / path).write_bytes(content)
    return site.backup().snapshot


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {
        str(path.relative_to(folder)): (path.lstat().st_size, path.lstat().st_nlink)
        for path in folder.rglob("*")
        if path.name != ".lock"
    }


def is_sound(site: Site) -> bool:
    return all(sums_are_right(site, each) and not site.store.listed(each).broken for each in site.snapshots())


def orphans(site: Site) -> set[str]:
    """Return the stored contents that no snapshot names."""
    named = {file.sha256 for each in site.snapshots() for file in site.manifest(each).files}
    return site.store.stored() - named


def digest_of(site: Site, snapshot: str, path: str) -> str:
    (found,) = (file.sha256 for file in site.manifest(snapshot).files if file.path == path)
    return found


def test_what_newer_snapshots_replace_goes_with_the_contents_that_no_other_has(site: Site) -> None:
    first = site.backup().snapshot
    old = digest_of(site, first, "config.json")
    second, third = edit(site, b"second"), edit(site, b"third")
    result = prune(site)
    assert result.removed == (first, second)
    assert site.snapshots() == [third]
    assert old not in site.store.stored()
    assert (result.freed_files, result.freed_bytes) == (2, 2 + 6)
    assert result.bytes_before - result.bytes_after == 8
    assert (result.snapshots, result.removed_total, result.source_unknown) == (3, 2, "")
    assert is_sound(site)
    assert orphans(site) == set()
    assert site.leftovers() == []
    again = prune(site)
    assert (again.removed, again.freed_files) == ((), 0)


def test_a_dry_run_says_the_same_with_why_of_each_and_changes_nothing(site: Site) -> None:
    first = site.backup().snapshot
    edit(site, b"second")
    newest = edit(site, b"third")
    before = everything(site.target)
    with site.store.locked(Control()):
        dry = prune(site, dry_run=True)
    assert everything(site.target) == before
    assert rules(dry)[first] == [Rule.OUTDATED]
    assert rules(dry)[newest] == [Rule.NEWEST, Rule.LAST]
    assert all(reason.words for each in dry.decisions for reason in each.reasons)
    assert [each.kept for each in dry.decisions] == [False, False, True]
    wet = prune(site)
    assert replace(dry, dry_run=False) == wet


def test_the_only_copy_of_a_model_that_the_source_still_has_is_never_removed(site: Site) -> None:
    model = site.source / "llama"
    model.mkdir()
    (model / "weights.gguf").write_bytes(bytes(2 << 20))
    (model / "tokenizer.json").write_bytes(b"tokens")
    first = site.backup().snapshot
    content = digest_of(site, first, "llama/weights.gguf")
    (model / "weights.gguf").unlink()
    (model / "weights.gguf").symlink_to("/dev/null")  # as a mount that is away leaves it, say
    second = site.backup().snapshot
    (model / "weights.gguf").unlink()
    (model / "weights.gguf").write_bytes(bytes(2 << 20))  # it is back, and was not backed up since
    third = edit(site, b"{3}")
    for each in (second, third):
        remove_from_snapshot(site, each, "llama/weights.gguf")
    result = prune(site, Policy(keep_last=1, max_size=1))
    assert first in site.snapshots()
    assert {Rule.COPY_OF_FILES, Rule.COPY_OF_MODEL} <= set(rules(result)[first])
    assert content in site.store.stored()
    assert second in result.removed
    assert "llama" in next(each for each in result.decisions if each.snapshot == first).reasons[0].words
    assert is_sound(site)


def remove_from_snapshot(site: Site, snapshot: str, path: str) -> None:
    """Have a snapshot be as if a file had been left out of it."""
    manifest = site.manifest(snapshot)
    files = tuple(file for file in manifest.files if file.path != path)
    left_out = {**manifest.left_out, path: "it was written to each time that it was read"}
    (site.files(snapshot) / path).unlink(missing_ok=True)
    rewrite_manifest(site, snapshot, {"files": files, "left_out": left_out})


def test_a_model_that_is_gone_from_the_source_goes_with_its_last_snapshot(site: Site) -> None:
    first = site.backup().snapshot
    (site.source / MODEL).unlink()
    edit(site, b"second")
    result = prune(site)
    assert result.removed == (first,)
    assert result.freed_bytes == 300_002


def test_a_rotten_file_of_the_source_counts_with_its_good_digest(site: Site) -> None:
    first = site.backup().snapshot
    good = digest_of(site, first, MODEL)
    rot(site, MODEL, bytes(300_000))
    edit(site, b"second")
    prune(site, Policy(keep_last=1, max_size=1))
    assert good in site.store.stored()
    assert is_sound(site)


def test_a_file_that_was_left_out_counts_with_what_it_had_last(site: Site) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    remove_from_snapshot(site, second, MODEL)
    result = prune(site)
    assert rules(result)[first] == [Rule.COPY_OF_FILES]
    assert site.snapshots() == [first, second]


def test_an_earlier_version_that_came_back_counts_until_it_is_backed_up(site: Site) -> None:
    file = site.source / MODEL
    before = file.read_bytes(), file.stat()
    first = site.backup().snapshot
    edit(site, bytes(300_000), MODEL)
    file.write_bytes(before[0])
    os.utime(file, ns=(before[1].st_atime_ns, before[1].st_mtime_ns))
    assert rules(prune(site))[first] == [Rule.COPY_OF_FILES]
    site.backup()
    assert first in prune(site).removed


def test_a_file_that_was_renamed_counts(site: Site) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    remove_from_snapshot(site, second, MODEL)
    (site.source / MODEL).rename(site.source / "elsewhere")
    assert rules(prune(site))[first] == [Rule.COPY_OF_FILES]


def test_all_below_a_folder_that_cannot_be_listed_counts_as_there(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    remove_from_snapshot(site, second, MODEL)
    real = os.scandir

    def scandir(path: str | Path) -> object:
        if str(path) == f"{site.source}/hub/blobs":
            raise PermissionError(errno.EACCES, "denied")
        return real(path)

    monkeypatch.setattr("aiidpd.components.backup.process.scan.os.scandir", scandir)
    assert rules(prune(site))[first] == [Rule.COPY_OF_FILES]


@pytest.mark.parametrize("how", ["gone", "empty", "not configured"])
def test_of_a_source_that_cannot_be_listed_all_counts_as_there(site: Site, how: str) -> None:
    first = site.backup().snapshot
    (site.source / MODEL).unlink()
    second, third = edit(site, b"second"), edit(site, b"second", "more")
    if how != "not configured":
        shutil.rmtree(site.source)
    if how == "empty":
        site.source.mkdir()
    if how == "not configured":
        site.source = Path()
        request = PruneRequest(str(site.target), policy=LAST)
        result = Prune(request, Control(), site.now, UTC).execute()
    else:
        result = prune(site)
    assert result.source_unknown
    assert Rule.COPY_OF_FILES in rules(result)[first], "it alone has the model"
    assert result.removed == (second,), "the third has all of it"
    assert site.snapshots() == [first, third]


def test_a_broken_snapshot_that_cannot_be_read_stays_and_counts_for_nothing(site: Site) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    third = edit(site, b"third")
    manifest = site.target / "snapshots" / third / "manifest.json"
    manifest.unlink()
    (site.target / "snapshots" / "notes").mkdir()
    result = prune(site)
    assert result.removed == (first,)
    found = rules(result)
    assert found[second] == [Rule.NEWEST, Rule.LAST]
    assert found[third] == found["notes"] == [Rule.UNREADABLE]
    assert (site.files(third) / "config.json").read_bytes() == b"third"
    assert site.snapshots() == [second, third, "notes"]


def test_a_broken_snapshot_of_which_the_lists_are_right_goes_once_whole_ones_have_all_of_it(
    site: Site,
) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    shutil.rmtree(site.files(first))
    assert rules(prune(site, Policy(keep_last=5)))[first] == [Rule.ONLY_HOLDER]
    edit(site, b"{}")
    assert rules(prune(site, Policy(keep_last=5)))[first] == [Rule.BROKEN]
    assert first not in site.snapshots()
    assert second in site.snapshots()


def test_a_content_that_a_snapshot_names_and_does_not_link_stays(site: Site) -> None:
    """A clone is no link; and a file that somebody has removed is healed from its object."""
    first = site.backup().snapshot
    sha256 = digest_of(site, first, MODEL)
    place = site.files(first) / MODEL
    content = place.read_bytes()
    place.unlink()
    place.write_bytes(content)
    assert site.store.object_path(sha256).stat().st_nlink == 1
    edit(site, b"second")
    prune(site, Policy(keep_last=9))
    assert sha256 in site.store.stored()


def test_what_is_no_content_is_left_alone(site: Site) -> None:
    site.backup()
    stray = [site.target / "objects" / "ab" / "notes", site.target / "objects" / "README"]
    stray[0].parent.mkdir(exist_ok=True)
    for path in stray:
        path.write_bytes(b"mine")
    prune(site)
    assert all(path.exists() for path in stray)


def test_what_an_interrupted_run_left_is_collected_although_no_snapshot_goes(site: Site) -> None:
    first = site.backup().snapshot
    place = site.store.object_path("ab" * 32)
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"of a run that was killed")
    (site.target / "incomplete" / "20200101T000000Z.removed").mkdir()
    result = prune(site)
    assert (result.removed, result.freed_files, result.freed_bytes) == ((), 1, 24)
    assert site.snapshots() == [first]
    assert site.leftovers() == []


def test_without_hard_links_each_snapshot_frees_what_it_holds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(stores.os, "link", refuse)
    first = site.backup().snapshot
    second = edit(site, b"second")
    assert site.store.stored() == set()
    dry = prune(site, dry_run=True)
    result = prune(site)
    assert not result.shared
    assert (result.removed, site.snapshots()) == ((first,), [second])
    assert result.freed_bytes == dry.freed_bytes == 300_005 == result.bytes_before - result.bytes_after
    assert result.freed_files == dry.freed_files == 3
    assert is_sound(site)


def test_a_copy_that_is_damaged_counts_for_less_than_one_that_is_not(site: Site) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    sha256 = digest_of(site, second, MODEL)
    place = site.files(second) / MODEL
    place.unlink()
    place.write_bytes(bytes(300_000))  # a copy of its own, and wrong
    proofs = Proofs(damaged={f"{sha256} {second}/{MODEL}": "it reads otherwise"})
    write_proofs(site.target, proofs)
    assert rules(prune(site))[first] == [Rule.COPY_OF_FILES]


def test_a_proven_copy_stays_beside_a_newer_one_that_is_not(site: Site) -> None:
    first = site.backup().snapshot
    proven = {file.sha256: site.now for file in site.manifest(first).files}
    write_proofs(site.target, Proofs(proven=proven))
    second = edit(site, b"second")
    third = edit(site, b"third")
    result = prune(site)
    assert Rule.NEWEST_PROVEN in rules(result)[first]
    assert result.removed == (second,)
    assert site.snapshots() == [first, third]


def test_what_was_known_of_a_content_is_forgotten_with_it(site: Site) -> None:
    first = site.backup().snapshot
    old, same = digest_of(site, first, "config.json"), digest_of(site, first, MODEL)
    edit(site, b"second")
    newest = edit(site, b"third")
    proofs = Proofs(
        proven={old: 1.0, same: 2.0, "cd" * 32: 3.0, f"{same} {first}/x": 1.0, f"{same} {newest}/x": 1.0},
        damaged={f"{old} {first}/y": "torn"},
        confirmed={first: 1.0, newest: 2.0},
    )
    write_proofs(site.target, proofs)
    prune(site)
    known, _ = read_proofs(site.target)
    assert known.proven == {same: 2.0, f"{same} {newest}/x": 1.0}
    assert known.damaged == {}
    assert known.confirmed == {newest: 2.0}


def test_proofs_that_are_damaged_prove_nothing_and_are_named(site: Site) -> None:
    site.backup()
    edit(site, b"second")
    (site.target / "proofs.json").write_bytes(b"garbage")
    result = prune(site)
    assert len(result.removed) == 1
    assert "checksum" in result.problems[0]
    assert (site.target / "proofs.json").read_bytes() == b"garbage"


def test_a_snapshot_from_the_future_is_kept_and_counts_for_nothing(site: Site) -> None:
    first = site.backup().snapshot
    second = edit(site, b"second")
    site.now += 400 * DAY
    ahead = edit(site, b"third")
    site.now -= 400 * DAY
    result = prune(site)
    assert rules(result)[ahead] == [Rule.WRONG_TIME]
    assert result.removed == (first,)
    assert site.snapshots() == [second, ahead]


@pytest.mark.parametrize("name", ["partial", "quarantine"])
def test_files_that_nobody_needs_any_more_go_after_30_days(site: Site, name: str) -> None:
    site.backup()
    folder = site.target / name
    (folder / "folder").mkdir(parents=True)
    (folder / "old").write_bytes(b"12345")
    os.utime(folder / "old", (1.0, 1.0))  # its content is old, it is not
    written = time.time()
    assert prune(site, now=written + 29 * DAY).stale_files == 0
    dry = prune(site, now=written + 31 * DAY, dry_run=True)
    assert (dry.stale_files, dry.stale_bytes, (folder / "old").exists()) == (1, 5, True)
    result = prune(site, now=written + 31 * DAY)
    assert (result.stale_files, result.stale_bytes) == (1, 5)
    assert [path.name for path in folder.iterdir()] == ["folder"]


def test_nothing_goes_from_another_target_than_the_one_used_so_far(site: Site) -> None:
    target = site.backup().target
    edit(site, b"second")
    request = PruneRequest(str(site.target), str(site.source), "another", LAST)
    with pytest.raises(Unavailable, match="another target"):
        Prune(request, Control()).execute()
    assert len(site.snapshots()) == 2
    request = replace(request, expected=target)
    assert Prune(request, Control(), site.now).execute().target == target
    assert len(site.snapshots()) == 1


def test_nothing_goes_while_another_holds_the_target(site: Site) -> None:
    site.backup()
    edit(site, b"second")
    pruner = Prune(PruneRequest(str(site.target), policy=LAST), Control())
    pruner.store = Store(site.target, patience=0.0)
    with site.store.locked(Control()), pytest.raises(Conflict):
        pruner.execute()
    assert len(site.snapshots()) == 2


def test_nothing_goes_where_pins_cannot_be_read(site: Site) -> None:
    site.backup()
    edit(site, b"second")
    (site.target / "pins.json").write_bytes(b"[")
    with pytest.raises(Unavailable, match="pins"):
        prune(site)
    assert len(site.snapshots()) == 2


def test_a_target_without_snapshots_has_nothing_to_prune(site: Site) -> None:
    assert prune(site).snapshots == 0
    assert list(site.target.iterdir()) == []


# Pins


def pin(site: Site, snapshot: str, reason: str = "") -> str:
    return change_pin(PinRequest(str(site.target), snapshot, reason), Control()).reason


def test_a_pinned_snapshot_stays_until_it_is_unpinned(site: Site) -> None:
    first = site.backup().snapshot
    edit(site, b"second")
    assert pin(site, first, "before the\nmigration") == "before the\\nmigration"
    result = prune(site)
    assert result.removed == ()
    (reason,) = result.decisions[0].reasons
    assert (reason.rule, reason.words) == (Rule.PROTECTED, "before the\\nmigration")
    assert pin(site, first, "another reason") == "another reason"
    assert pin(site, first) == ""
    assert prune(site).removed == (first,)


def test_a_snapshot_that_is_not_there_cannot_be_pinned(site: Site) -> None:
    first = site.backup().snapshot
    for reason in ("why", ""):
        with pytest.raises(NotFound, match="has no such snapshot"):
            pin(site, "20200101T000000Z", reason)
    pins.write(site.target, {"20200101T000000Z": "it is gone"})
    assert prune(site).unknown_pins == ("20200101T000000Z",)
    assert pin(site, "20200101T000000Z") == "", "a pin that has outlived its snapshot"
    assert pins.read(site.target) == {}
    assert prune(site, replace(LAST, pins=("gone",))).unknown_pins == ("gone",)
    assert site.snapshots() == [first]


def test_a_pin_waits_for_the_lock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    first = site.backup().snapshot
    monkeypatch.setattr(Store.__init__, "__defaults__", (0.0,))
    with site.store.locked(Control()), pytest.raises(Conflict):
        pin(site, first, "why")


# Models


def test_models_are_folders_with_weights_and_those_of_a_cache(site: Site) -> None:
    hub = site.source / "hub" / "models--a--b" / "snapshots" / "c"
    hub.mkdir(parents=True)
    (hub / "config.json").write_bytes(b"{}")
    (site.source / "llama" / "extra").mkdir(parents=True)
    for path in ("llama/big.gguf", "single.gguf"):
        (site.source / path).write_bytes(bytes(1 << 20))
    (site.source / "llama" / "extra" / "small").write_bytes(b"1")
    manifest = site.manifest(site.backup().snapshot)
    found = {model.name: [file.path for file in model.files] for model in models_of(manifest)}
    assert found.keys() == {".", "hub/models--a--b", "llama", "single.gguf"}
    assert found["llama"] == ["llama/big.gguf", "llama/extra/small"]
    assert home_of("llama/other", homes_of(manifest.files)) == "llama"


# Random histories


@dataclass(frozen=True)
class Change:
    path: str
    content: bytes | None


PATHS = ("a/x", "a/y", "b/x", "z")
texts = st.sampled_from([None, b"1", b"22", b"333", bytes(1 << 20)])
changes = st.builds(Change, st.sampled_from(PATHS), texts)
histories = st.lists(st.lists(changes, min_size=1, max_size=3), min_size=1, max_size=6)
policies = st.builds(
    Policy,
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 1),
    st.integers(0, 1),
    st.sampled_from([0, 0, 1, 4]),
)


@contextmanager
def fresh_site() -> Iterator[Site]:
    with TemporaryDirectory() as folder:
        site = Site(Path(folder) / "source", Path(folder) / "target")
        site.target.mkdir()
        site.source.mkdir()
        (site.source / "always").write_bytes(b"always")
        yield site


def apply(site: Site, steps: list[Change]) -> None:
    for change in steps:
        path = site.source / change.path
        path.parent.mkdir(exist_ok=True)
        path.unlink(missing_ok=True)
        if change.content is not None:
            path.write_bytes(change.content)


def contents(site: Site) -> dict[str, set[bytes]]:
    """Return for each file of the source its content, as the snapshots of the target hold it."""
    return {
        str(path.relative_to(site.source)): {
            copy.read_bytes()
            for each in site.snapshots()
            for copy in site.files(each).rglob("*")
            if copy.is_file() and copy.read_bytes() == path.read_bytes()
        }
        for path in site.source.rglob("*")
        if path.is_file()
    }


@examples(60)
@given(histories, policies, st.lists(changes, max_size=2), st.booleans(), st.data())
def test_whatever_came_before_what_stays_is_whole_and_the_source_loses_no_copy(
    history: list[list[Change]], policy: Policy, since: list[Change], gone: bool, data: st.DataObject
) -> None:
    with fresh_site() as site:
        for steps in history:
            apply(site, steps)
            site.now += data.draw(st.sampled_from([60.0, 40_000.0, 8 * DAY]))
            site.backup()
        apply(site, since)
        before = contents(site)
        if gone:
            site.source.rename(site.source.with_name("away"))
        dry = prune(site, policy, dry_run=True)
        result = prune(site, policy)
        assert replace(dry, dry_run=False) == result
        kept = {each.snapshot for each in result.decisions if each.kept}
        assert set(site.snapshots()) == kept
        assert is_sound(site)
        assert orphans(site) == set()
        assert prune(site, policy).removed == ()
        if gone:
            site.source.with_name("away").rename(site.source)
        after = contents(site)
        # What was written since has a hash that no listing shows: it is not backed up yet.
        written = {change.path for change in since}
        known = {path for path, copies in before.items() if copies} - written
        assert {path: after[path] for path in known} == {path: before[path] for path in known}


# Kills


class Crash(BaseException):
    """End of the process."""


class CrashAt(Control):
    """Ends at a step."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number

    def step(self, count: int = 0) -> None:
        super().step(count)
        self._left -= 1
        if self._left == 0:
            raise Crash


def aged(site: Site, snapshots: int = 6, files: int = 12) -> None:
    """Make snapshots of which each has contents that no other has."""
    numbers = random.Random(5)
    for number in range(snapshots):
        for file in range(files):
            (site.source / f"file-{file}").write_bytes(numbers.randbytes(200 + number))
        site.backup()


def copied(site: Site, to: Path) -> Site:
    subprocess.run(["cp", "-a", site.target, to], check=True)
    return replace(site, target=to)


def test_ended_at_any_step_it_leaves_whole_snapshots_and_the_next_prune_finishes(
    site: Site, tmp_path: Path
) -> None:
    aged(site, snapshots=3, files=2)
    expected = None
    for number in range(1, 1000):
        copy = copied(site, tmp_path / f"copy-{number}")
        request = PruneRequest(str(copy.target), str(copy.source), policy=LAST)
        try:
            Prune(request, CrashAt(number), site.now, UTC).execute()
        except Crash:
            assert is_sound(copy)
            prune(copy)
        else:
            break
        finally:
            expected = expected or site.snapshots()[-1:]
        assert copy.snapshots() == expected
        assert is_sound(copy)
        assert orphans(copy) == set()
        assert copy.leftovers() == []
        shutil.rmtree(copy.target)
    assert number > 40, "it was ended in each phase"


@short_and_long("kills", 10, 100)
def test_kill_9_at_any_moment_leaves_whole_snapshots_and_the_next_prune_finishes(
    site: Site, tmp_path: Path, kills: int
) -> None:
    site.now = 1_700_000_000.0  # the process reads the real clock
    aged(site)
    numbers = random.Random(9)
    done = cut = 0
    # More of them where the kills fell beside the work: else this would show nothing.
    while done < kills or cut < kills // 3:
        assert done < 10 * kills
        copy = copied(site, tmp_path / "copy")
        with pruning(copy) as process:
            remain = numbers.randint(1, 6)
            while len(copy.snapshots()) > remain and process.poll() is None:
                pass
            time.sleep(numbers.uniform(0.0, 0.005))
            process.kill()
        done += 1
        left = copy.snapshots()
        cut += bool(copy.leftovers()) or bool(orphans(copy)) or 1 < len(left) < 6
        assert site.snapshots()[-1] in left
        assert is_sound(copy)
        prune(copy)
        assert copy.snapshots() == site.snapshots()[-1:]
        assert is_sound(copy)
        assert orphans(copy) == set()
        assert copy.leftovers() == []
        shutil.rmtree(copy.target)


@contextmanager
def pruning(site: Site) -> Iterator[subprocess.Popen[bytes]]:
    """Start a prune in a process of its own; it has begun to remove."""
    request = PruneRequest(str(site.target), str(site.source), policy=LAST)
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode(request))
        process.stdin.flush()
        progress: Progress | None = None
        while progress is None or progress.phase != "pruning":
            progress = decode_line(process.stdout.readline()).progress
        try:
            yield process
        finally:
            process.kill()


def ask(request: Request) -> Line:
    """Return the last line of a process for ``request``."""
    with subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode(request))
        process.stdin.flush()  # its end would be that of the daemon
        return decode_line(process.stdout.readlines()[-1])


def test_the_process_answers_prune_and_pin(site: Site) -> None:
    site.now = 1_700_000_000.0
    first = site.backup().snapshot
    edit(site, b"second")
    pruning = PruneRequest(str(site.target), str(site.source), policy=LAST)
    found = []
    for reason in ("why", ""):
        line = ask(PinRequest(str(site.target), first, reason))
        assert line.pin is not None
        assert line.pin.reason == reason
        line = ask(pruning)
        assert line.prune is not None
        found.append(line.prune.removed)
    assert found == [(), (first,)]
    line = ask(PinRequest(str(site.target), first, "why"))
    assert line.failure is not None
    assert line.failure.type == "NotFound"
