import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.manifest import FileEntry
from aiidpd.components.backup.plan import Entry, Kind, Plan, is_excluded, make_plan
from aiidpd.components.backup.settings import BackupSettings


def file(path: str, size: int = 1, mtime_ns: int = 1) -> Entry:
    return Entry(path, Kind.FILE, size, mtime_ns)


def link(path: str, target: str) -> Entry:
    return Entry(path, Kind.SYMLINK, target=target)


def known(path: str, size: int = 1, mtime_ns: int = 1) -> FileEntry:
    return FileEntry(path, size, mtime_ns, 0o644, "0" * 64, 1.0)


def plan(
    *entries: Entry, previous: tuple[FileEntry, ...] = (), roots: tuple[str, ...] = ("/models",)
) -> Plan:
    return make_plan(
        entries, {entry.path: entry for entry in previous}, roots=roots, exclude=BackupSettings().exclude
    )


def test_what_is_unchanged_is_linked_and_all_else_copied():
    same, grown, touched, new = file("same"), file("grown", 2), file("touched", 1, 2), file("new")
    result = plan(
        same, grown, touched, new, previous=(known("same"), known("grown"), known("touched"), known("gone"))
    )
    assert result.link == (known("same"),)
    assert set(result.copy) == {grown, touched, new}
    assert result.bytes_to_copy == 4
    assert result.files == 4


@pytest.mark.parametrize(
    ("path", "patterns", "expected"),
    [
        ("a.tmp", BackupSettings().exclude, True),
        ("deep/er/x.incomplete", BackupSettings().exclude, True),
        ("blobs.lock/inside", BackupSettings().exclude, True),
        ("model.tmp.gguf", BackupSettings().exclude, False),
        ("cache/x", ("cache",), True),
        ("my/cache/x", ("/cache/",), False),
        ("cache/x", ("/cache/",), True),
        ("my/cache/x", ("my/cache",), True),
        ("my/cache2/x", ("my/cache",), False),
        ("my/a/x", ("my/*/x",), True),
        ("line\nbreak.tmp", BackupSettings().exclude, True),
        ("UPPER.TMP", BackupSettings().exclude, False),
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
    assert not result.refused


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
    assert path in dict(result.refused)
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
    assert result.refused == ((path, "its path leads out of the source"),)


def test_a_file_below_a_link_is_refused():
    assert dict(plan(link("a", "b"), file("a/x")).refused) == {"a/x": "its path leads out of the source"}


def test_special_files_are_refused_and_unreadable_folders_told():
    result = plan(
        Entry("socket", Kind.SPECIAL),
        Entry("private", Kind.UNREADABLE, note="Permission denied"),
        Entry("x.tmp", Kind.UNREADABLE, note="Permission denied"),
        Entry(".", Kind.UNREADABLE, note="Input/output error"),
    )
    assert [path for path, _ in result.refused] == ["socket"]
    assert [path for path, _ in result.unreadable] == [".", "private"]
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
    fates += [*result.excluded, *dict(result.refused), *dict(result.unreadable)]
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
    result = make_plan(links, {}, roots=("/models",), exclude=())
    for entry in result.symlinks:
        (root / entry.path).parent.mkdir(exist_ok=True)
        (root / entry.path).symlink_to(entry.target)
    for entry in result.symlinks:
        assert (root / entry.path).resolve().is_relative_to(root)
