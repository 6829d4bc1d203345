"""Decisions of a restore, without a disk."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.manifest import FileEntry, FolderEntry, Manifest
from aiidpd.components.backup.process.plan import Entry, Kind
from aiidpd.components.backup.process.restore_plan import (
    hard_links,
    make_restore_plan,
    parents,
    select,
    settle,
)

NAMES = st.lists(st.sampled_from("abcd"), min_size=1, max_size=3).map("/".join)


def file(path: str, size: int = 1, mtime: int = 5, **values: Any) -> FileEntry:
    return FileEntry(path, size, mtime, 0o644, "0" * 64, **values)


def manifest(*paths: str, folders: tuple[str, ...] = (), links: dict[str, str] | None = None) -> Manifest:
    files = tuple(file(path) for path in paths)
    made = tuple(FolderEntry(path, 0o700, 7) for path in folders)
    return Manifest("20270101T000000Z", "/s", 1.0, files, made, links or {}, {"a/pipe": "special"})


def chosen(found: Manifest, *wanted: str) -> set[str]:
    selection = select(found, wanted)
    return {each.path for each in (*selection.files, *selection.folders)} | set(selection.links)


def test_the_folders_above_a_path():
    assert list(parents("a/b/c")) == ["a", "a/b"]
    assert list(parents("a")) == []


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), {"a", "a/b.gguf", "a/c/d", "a/[b].gguf", "e"}),
        (("a/",), {"a", "a/b.gguf", "a/c/d", "a/[b].gguf"}),
        (("/a/c",), {"a/c/d"}),
        (("*.gguf",), {"a/b.gguf", "a/[b].gguf"}),
        (("a/[b].gguf",), {"a/[b].gguf"}),
        (("a/*.gguf", "e"), {"a/b.gguf", "a/[b].gguf", "e"}),
        (("c",), {"a/c/d"}),
    ],
)
def test_paths_and_patterns(wanted: tuple[str, ...], expected: set[str]):
    found = manifest("a/b.gguf", "a/c/d", "a/[b].gguf", "e", folders=("a",))
    assert chosen(found, *wanted) == expected
    assert select(found, wanted).unknown == ()


def test_what_is_not_there_is_named_and_what_is_left_out_only_where_it_is_wanted():
    found = manifest("a/b", "e")
    assert select(found, ("a", "x*", "b/c")).unknown == ("x*", "b/c")
    assert select(found, ("a",)).left_out == {"a/pipe": "special"}
    assert select(found, ("e",)).left_out == {}
    assert select(found, ()).left_out == {"a/pipe": "special"}


@pytest.mark.parametrize(
    ("links", "expected"),
    [
        ({"l": "b/c"}, {"l", "b/c"}),
        ({"l": "b"}, {"l", "b/c"}),
        ({"l": "m", "m": "b/c"}, {"l", "m", "b/c"}),
        ({"l": "m/c", "m": "b"}, {"l", "m", "b/c"}),
        ({"l": "x/../b/./c"}, {"l", "b/c"}),
        ({"l": "l"}, {"l"}),
        ({"l": "../out"}, {"l"}),
        ({"l": "/b/c"}, {"l"}),
        ({"l": "nowhere"}, {"l"}),
        ({"l": "m/c", "m": "l"}, {"l", "m"}),
        ({"l": "n", "n/deep": "../b/c"}, {"l", "n/deep", "b/c"}),
    ],
)
def test_what_links_lead_to_is_selected_with_them(links: dict[str, str], expected: set[str]):
    assert chosen(manifest("b/c", "d", links=links), "l") == expected


@given(
    st.sets(NAMES), st.sets(NAMES), st.dictionaries(NAMES, st.one_of(NAMES, st.just("../a"))), st.lists(NAMES)
)
def test_no_selection_has_a_file_or_link_above_something_else(
    files: set[str], folders: set[str], links: dict[str, str], wanted: list[str]
):
    found = manifest(*files, folders=tuple(folders), links=links)
    selection = select(found, wanted)
    leaves = {each.path for each in selection.files} | set(selection.links)
    assert not any(above in leaves for path in selection.paths for above in parents(path) if path in leaves)
    assert not (leaves & set(selection.impossible))
    plan = make_restore_plan(selection, {}, overwrite=False, trust=False)
    written = {each.path for each in plan.write} | {path for path, _ in plan.links}
    assert written <= leaves
    made = set(plan.make)
    assert all(above in made for path in written | made for above in parents(path))
    assert list(plan.make) == sorted(plan.make)
    assert [each.path for each in plan.finish] == sorted((each.path for each in plan.finish), reverse=True)


def planned(found: Manifest, *there: Entry, overwrite: bool = False, trust: bool = False):
    state = {each.path: each for each in there}
    return make_restore_plan(select(found, ()), state, overwrite=overwrite, trust=trust)


def test_a_file_is_written_checked_trusted_or_refused():
    found = manifest("a")
    assert planned(found).write == found.files
    same = Entry("a", Kind.FILE, 1, 5)
    assert planned(found, same).check == found.files
    assert planned(found, same, trust=True).same == found.files
    touched = Entry("a", Kind.FILE, 1, 6)
    assert planned(found, touched, trust=True).check == found.files
    assert planned(found, Entry("a", Kind.FILE, 2, 6)).refused == {"a": "a newer file is there"}
    assert planned(found, Entry("a", Kind.FILE, 2, 4)).refused == {"a": "another file is there"}
    assert planned(found, Entry("a", Kind.FILE, 2, 4), overwrite=True).write == found.files


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize("kind", [Kind.FOLDER, Kind.SPECIAL])
def test_a_folder_and_a_special_file_are_never_replaced(kind: Kind, overwrite: bool):
    found = manifest("a", links={"b": "a"})
    plan = planned(found, Entry("a", kind), Entry("b", kind), overwrite=overwrite)
    assert plan.refused == {"a": f"a {kind.value} is there", "b": f"a {kind.value} is there"}


def test_a_checked_file_is_the_same_or_differs():
    found = manifest("a", "b")
    plan = planned(found, Entry("a", Kind.FILE, 1, 5), Entry("b", Kind.FILE, 1, 5))
    settled = settle(plan, {"a"}, overwrite=False)
    assert [each.path for each in settled.same] == ["a"]
    assert settled.refused == {"b": "another file of the same size is there"}
    assert [each.path for each in settle(plan, {"a"}, overwrite=True).write] == ["b"]


def test_below_what_can_not_be_a_folder_nothing_is_written():
    found = manifest("a/b/c", "d", folders=("a", "a/b"), links={"a/l": "x"})
    plan = planned(found, Entry("a", Kind.SYMLINK, target="/etc"), overwrite=True)
    assert [each.path for each in plan.write] == ["d"]
    assert plan.make == ()
    assert plan.links == ()
    assert plan.finish == ()
    why = "a symbolic link is there, where a folder has to be"
    assert plan.refused == {
        "a": why,
        "a/b": f"the folder above it can't be made: {why}",
        "a/b/c": f"the folder above it can't be made: {why}",
        "a/l": f"the folder above it can't be made: {why}",
    }


def test_a_folder_above_a_part_gets_its_mode_only_where_it_is_made():
    found = manifest("a/b", folders=("a",))
    selection = select(found, ("a/b",))
    made = make_restore_plan(selection, {}, overwrite=False, trust=False)
    assert [each.path for each in made.finish] == ["a"]
    there = make_restore_plan(selection, {"a": Entry("a", Kind.FOLDER)}, overwrite=False, trust=False)
    assert there.finish == ()


def test_names_of_one_file_are_linked_again_unless_its_content_is_an_earlier_one():
    inode = (1, 2)
    files = (file("a", inode=inode), file("b", inode=inode), file("c", inode=(1, 3)), file("d"), file("e"))
    assert hard_links(files) == {"b": "a"}
    assert hard_links((file("a", inode=inode, retained="rot"), file("b", inode=inode))) == {}
    assert hard_links((file("a", inode=inode), file("b", 2, 6, inode=inode))) == {}
