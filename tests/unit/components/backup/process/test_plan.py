import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.manifest import FileEntry, FolderEntry
from aiidpd.components.backup.process.plan import Entry, Kind, Plan, is_excluded, make_plan
from tests.unit.components.backup.conftest import EXCLUDE

STORED = frozenset({"0" * 64})


def file(path: str, size: int = 1, mtime_ns: int = 1, **more: Any) -> Entry:
    """A file whose inode only its path knows."""
    return Entry(path, Kind.FILE, size, mtime_ns, **{"ctime_ns": 1, "inode": (0, hash(path)), **more})


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, target=target)


def known(path: str, size: int = 1, mtime_ns: int = 1, **more: Any) -> FileEntry:
    given = {"ctime_ns": 1, "inode": (0, hash(path)), **more}
    return FileEntry(path, size, mtime_ns, 0o644, "0" * 64, **given)


def plan(
    *entries: Entry,
    previous: tuple[FileEntry, ...] = (),
    roots: tuple[str, ...] = ("/models",),
    stored: frozenset[str] = STORED,
) -> Plan:
    before = {entry.path: entry for entry in previous}
    return make_plan(entries, before, stored=stored, roots=roots, exclude=EXCLUDE)


def test_what_is_unchanged_is_linked_and_all_else_copied():
    same, grown, touched, new = file("same"), file("grown", 2), file("touched", 1, 2), file("new")
    result = plan(
        same, grown, touched, new, previous=(known("same"), known("grown"), known("touched"), known("gone"))
    )
    assert result.link == (known("same"),)
    assert set(result.copy) == {grown, touched, new}
    assert result.bytes_to_read == result.bytes_to_store == 4
    assert result.files == 4


def test_what_was_touched_is_read_again():
    touched, unknown = file("touched", ctime_ns=2), file("unknown", ctime_ns=2)
    before = (known("touched"), known("unknown", ctime_ns=None))
    result = plan(touched, unknown, previous=before)
    assert result.reread == ((touched, before[0]),)
    assert [entry.path for entry in result.link] == ["unknown"], "schema 1 did not record that time"
    assert result.link[0].ctime_ns == 2
    assert result.bytes_to_read == 1
    assert result.bytes_to_store == 0


def test_what_the_target_has_lost_is_read_again():
    same = file("same")
    result = plan(same, previous=(known("same"),), stored=frozenset())
    assert result.reread == ((same, known("same")),)


def test_a_renamed_file_is_linked_whatever_its_ctime():
    moved = file("b/new", ctime_ns=9, inode=(7, 7), mode=0o600)
    result = plan(moved, previous=(known("old", inode=(7, 7)),))
    assert result.copy == ()
    (made,) = result.link
    assert (made.path, made.ctime_ns, made.mode, made.sha256) == ("b/new", 9, 0o600, "0" * 64)


@pytest.mark.parametrize("change", [{"size": 2}, {"mtime_ns": 2}, {"inode": (7, 8)}])
def test_another_file_is_no_renamed_one(change: dict[str, Any]):
    entry = file("new", **{"inode": (7, 7), **change})
    assert plan(entry, previous=(known("old", inode=(7, 7)),)).copy == (entry,)


def test_a_hard_link_of_the_source_is_copied_once():
    first, second = file("a", 5, inode=(7, 7)), file("b", 5, inode=(7, 7))
    result = plan(second, first)
    assert result.copy == (first,)
    assert result.aliases == ((second, "a"),)
    assert (result.files, result.bytes_to_read) == (2, 5)


def test_a_sparse_file_needs_the_room_of_its_data():
    result = plan(file("sparse", 1 << 30, blocks=11 << 20), file("compressed", 10, blocks=0))
    assert result.bytes_to_read == (1 << 30) + 10
    assert result.bytes_to_store == (11 << 20) + 10


def test_folders_are_recorded():
    folder = Entry("empty", Kind.FOLDER, mtime_ns=5, mode=0o700, uid=3, gid=4)
    assert plan(folder).folders == (FolderEntry("empty", 0o700, 5, 3, 4),)


@pytest.mark.parametrize(
    ("path", "patterns", "expected"),
    [
        ("a.tmp", EXCLUDE, True),
        ("deep/er/x.incomplete", EXCLUDE, True),
        ("blobs.lock/inside", EXCLUDE, True),
        ("model.tmp.gguf", EXCLUDE, False),
        ("cache/x", ("cache",), True),
        ("my/cache/x", ("/cache/",), False),
        ("cache/x", ("/cache/",), True),
        ("my/cache/x", ("my/cache",), True),
        ("my/cache2/x", ("my/cache",), False),
        ("my/a/x", ("my/*/x",), True),
        ("line\nbreak.tmp", EXCLUDE, True),
        ("UPPER.TMP", EXCLUDE, False),
    ],
)
def test_exclusion(path: str, patterns: tuple[str, ...], expected: bool):
    assert is_excluded(path, patterns) is expected


def test_the_cache_layout_of_hugging_face_is_kept():
    hub = "hub/models--org--name"
    result = plan(
        file(f"{hub}/blobs/" + "a" * 64),
        file(f"{hub}/blobs/" + "b" * 64 + ".incomplete"),
        link(f"{hub}/snapshots/rev/model.safetensors", "../../blobs/" + "a" * 64),
        file(f"{hub}/refs/main"),
    )
    assert [entry.target for entry in result.symlinks] == ["../../blobs/" + "a" * 64]
    assert len(result.copy) == 2
    assert len(result.excluded) == 1
    assert not result.left_out


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("link", "/etc/passwd"),
        ("link", "../secret"),
        ("a/b/link", "../../../secret"),
        ("link", "/models2/x"),
        ("link", "/models/../etc"),
        ("link", "dot/../../x"),
        ("via", "a/up/x"),  # through another link that leaves
        ("loop", "loop"),
        ("round", "a/round"),
    ],
)
def test_links_that_leave_the_source_are_refused(path: str, target: str):
    others = (link("dot", "."), link("a/up", "../.."), link("a/round", "../round"))
    result = plan(file("x"), *others, link(path, target))
    assert path in result.left_out
    assert path not in [entry.path for entry in result.symlinks]


@pytest.mark.parametrize(
    ("path", "target", "kept"),
    [
        ("link", "missing", "missing"),  # dangling, but inside
        ("a/b/link", "../../x", "../../x"),
        ("a/b/link", "/models/x", "../../x"),
        ("a/b/link", "/mnt/disk/models/c/x", "../../c/x"),
        ("a/link", "/models", "../"),
        ("link", "/models/", "."),
        ("link", "./a/../x", "./a/../x"),
    ],
)
def test_links_within_the_source_are_kept_and_made_relative(path: str, target: str, kept: str):
    result = plan(link(path, target), roots=("/models", "/mnt/disk/models"))
    assert [entry.target for entry in result.symlinks] == [kept]


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//b", "", ".", "a/.", "nul\0"])
def test_paths_that_would_escape_are_refused(path: str):
    result = plan(file(path))
    assert not result.copy
    assert result.left_out == {path: "its path leads out of the source"}


def test_a_file_below_a_link_is_refused():
    assert plan(link("a", "b"), file("a/x")).left_out == {"a/x": "its path leads out of the source"}


def test_special_files_and_unreadable_folders_are_left_out_with_the_reason():
    result = plan(
        Entry("socket", Kind.SPECIAL),
        Entry("private", Kind.UNREADABLE, note="Permission denied"),
        Entry("x.tmp", Kind.UNREADABLE, note="Permission denied"),
        Entry(".", Kind.UNREADABLE, note="Input/output error"),
    )
    assert result.left_out == {
        ".": "Input/output error",
        "private": "Permission denied",
        "socket": "it is no regular file, folder or symbolic link",
    }
    assert result.excluded == ("x.tmp",)


names = st.binary(min_size=1, max_size=8).map(lambda raw: os.fsdecode(raw.replace(b"/", b"_")))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
targets = st.lists(st.sampled_from(["..", ".", "a", "b", "", "/models", "/etc"]), min_size=1, max_size=5).map(
    "/".join
)
entries = st.lists(
    st.one_of(
        st.builds(file, paths, st.integers(0, 2), st.integers(0, 2)),
        st.builds(link, st.sampled_from(["a", "b", "d", "c/a", "c/b"]), targets),
    ),
    unique_by=lambda entry: entry.path,
    max_size=12,
)


@given(entries)
def test_every_entry_has_one_fate_and_the_fate_does_not_depend_on_the_order(listing: list[Entry]):
    result = plan(*listing, previous=(known("a"), known("b")))
    fates = [entry.path for entry in (*result.copy, *result.link, *result.symlinks)]
    fates += [entry.path for entry, _ in (*result.reread, *result.aliases)]
    fates += [*result.excluded, *result.left_out]
    assert sorted(fates) == sorted(entry.path for entry in listing)
    assert plan(*reversed(listing), previous=(known("a"), known("b"))) == result


@given(entries)
def test_no_kept_link_leads_out_on_a_real_file_system(
    tmp_path_factory: pytest.TempPathFactory, listing: list[Entry]
):
    """The walk over the listing agrees with what the kernel makes of the same links."""
    links = [
        entry for entry in listing if entry.kind is Kind.SYMLINK and entry.target
    ]  # Linux has no empty ones
    outer = tmp_path_factory.mktemp("outer").resolve()
    root = outer / "root"
    (root / "c").mkdir(parents=True)
    result = make_plan(links, {}, stored=STORED, roots=("/models",), exclude=())
    for entry in result.symlinks:
        (root / entry.path).parent.mkdir(exist_ok=True)
        (root / entry.path).symlink_to(entry.target)
    for entry in result.symlinks:
        assert (root / entry.path).resolve().is_relative_to(root)
