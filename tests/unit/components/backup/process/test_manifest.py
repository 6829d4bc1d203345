import json
import os
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.backup.process.manifest import (
    FileEntry,
    FolderEntry,
    Manifest,
    dump_manifest,
    dump_sums,
    load_manifest,
    load_sums,
)
from aiidpd.components.backup.process.names import escape, shown, size_text, stays_inside, unescape

NASTY = [
    b"plain",
    b"two words",
    b" lead",
    b"-n",
    b"*star",
    b"back\\slash",
    b"new\nline",
    b"\\n",
    b"end\r",
    b"\r",
]
NASTY += [
    b"tab\t",
    b"\xff\xfe not utf-8",
    "ünïcode ✓".encode(),
    b"\\",
    b"a\\\nb",
    b"#hash",
    b"  ",
    b"0" * 64 + b"  x",
]

names = st.binary(min_size=1, max_size=20).map(lambda raw: raw.replace(b"\0", b"0").replace(b"/", b"_"))
safe_names = names.filter(lambda name: name not in (b".", b".."))
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
times = st.floats(0, 4e9)


def named_once(manifest: Manifest) -> bool:
    names = [each.path for each in manifest.files] + [each.path for each in manifest.folders]
    names += manifest.links
    return len(set(names)) == len(names)


files = st.builds(
    FileEntry,
    path=safe_names.map(os.fsdecode),
    size=st.integers(0, 2**50),
    mtime_ns=st.integers(-(2**62), 2**62),
    mode=st.integers(0, 0o7777),
    sha256=digests,
    ctime_ns=st.none() | st.integers(-(2**62), 2**62),
    inode=st.none() | st.tuples(st.integers(0, 2**63), st.integers(0, 2**63)),
    uid=st.integers(0, 2**32),
    gid=st.integers(0, 2**32),
    read_at=st.none() | times,
    xattrs=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2),
    retained=st.text(max_size=5),
)
folders = st.builds(
    FolderEntry,
    path=safe_names.map(os.fsdecode),
    mode=st.integers(0, 0o7777),
    mtime_ns=st.integers(-(2**62), 2**62),
    uid=st.integers(0, 2**32),
    gid=st.integers(0, 2**32),
)
manifests = st.builds(
    Manifest,
    snapshot=st.just("20260101T000000Z"),
    source=names.map(os.fsdecode),
    created_at=times,
    files=st.lists(files, max_size=5).map(tuple),
    folders=st.lists(folders, max_size=3).map(tuple),
    links=st.dictionaries(safe_names.map(os.fsdecode), names.map(os.fsdecode), max_size=3),
    left_out=st.dictionaries(names.map(os.fsdecode), st.text(), max_size=3),
    copied_files=st.integers(0, 9),
    copied_bytes=st.integers(0, 2**60),
).filter(named_once)
ONE = Manifest(
    "20260101T000000Z",
    "/m",
    1.0,
    (FileEntry("a", 3, 4, 0o644, "0" * 64, read_at=2.0),),
    (FolderEntry("f", 0o755, 5),),
    {"l": "a"},
    {},
    1,
    3,
)
SCHEMA_1 = {
    "schema": 1,
    "snapshot": "20260101T000000Z",
    "source": "/m",
    "created_at": 1.0,
    "files": [{"path": "a", "size": 3, "mtime_ns": 4, "mode": 420, "sha256": "0" * 64, "verified_at": 2.0}],
    "links": {"l": "a"},
    "refused": {"s": "a socket"},
    "copied_files": 1,
    "copied_bytes": 3,
    "verified_at": 2.0,
    "totals": {"files": 1, "bytes": 3},
}


@given(st.dictionaries(safe_names.map(os.fsdecode), digests, max_size=8))
def test_checksum_lines_survive_a_round_trip(sums: dict[str, str]):
    assert load_sums(dump_sums(sums)) == sums


@given(st.binary(max_size=40))
def test_escaping_is_undone_and_leaves_one_line(name: bytes):
    assert unescape(escape(name)) == name
    assert b"\n" not in escape(name)
    assert b"\r" not in escape(name)


@given(st.binary(max_size=200))
def test_any_bytes_are_checksum_lines_or_refused(data: bytes):
    try:
        sums = load_sums(data)
    except ValueError:
        return
    assert load_sums(dump_sums(sums)) == sums


@given(manifests)
def test_a_manifest_survives_a_round_trip(manifest: Manifest):
    data = dump_manifest(manifest)
    assert data.isascii()
    assert load_manifest(data) == manifest


def test_a_manifest_of_the_first_schema_is_read():
    manifest = load_manifest(json.dumps(SCHEMA_1).encode())
    assert manifest == replace(ONE, folders=(), left_out={"s": "a socket"})


def test_coreutils_writes_the_same_lines_and_accepts_ours(tmp_path: Path):
    sums = {}
    for number, name in enumerate(NASTY):
        (tmp_path / os.fsdecode(name)).write_bytes(b"%d" % number)
        sums[os.fsdecode(name)] = sha256(b"%d" % number).hexdigest()
    ours = dump_sums(sums)
    command = [b"sha256sum", b"--", *NASTY]
    theirs = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True).stdout
    assert ours == theirs
    assert load_sums(theirs) == sums
    check = subprocess.run(
        ["sha256sum", "--strict", "-c"], cwd=tmp_path, input=ours, capture_output=True, check=False
    )
    assert check.returncode == 0, check.stdout + check.stderr
    (tmp_path / "plain").write_bytes(b"changed")
    check = subprocess.run(
        ["sha256sum", "--strict", "-c"], cwd=tmp_path, input=ours, capture_output=True, check=False
    )
    assert check.returncode == 1
    assert b"plain: FAILED" in check.stdout


def damaged(**changes: object) -> bytes:
    return json.dumps({**json.loads(dump_manifest(ONE)), **changes}).encode()


ENTRY = json.loads(dump_manifest(ONE))["files"][0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "Expecting value"),
        (b"\xff{}", "decode"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[1]", "no object"),
        (b"{}", "schema None"),
        (damaged(schema=3), "schema 3, this version reads 1 and 2"),
        (damaged(schema=1), "incomplete"),
        (damaged(totals={"files": 1, "bytes": 4}), "totals"),
        (damaged(files=[{"path": "a"}]), "incomplete"),
        (damaged(files=None), "incomplete"),
        (damaged(files=[{**ENTRY, "size": "3"}]), "impossible"),
        (damaged(files=[{**ENTRY, "sha256": "12"}]), "impossible"),
        (damaged(files=[{**ENTRY, "path": "../../etc/passwd"}]), "outside"),
        (damaged(links={"/etc/x": "y"}), "outside"),
        (damaged(extra=1), "incomplete"),
        (dump_manifest(ONE)[:-20], "Expecting|delimiter|Unterminated"),
        (damaged(created_at="now"), "wrong type"),
        (damaged(created_at=None), "wrong type"),
        (damaged(copied_bytes=None), "wrong type"),
        (damaged(source=7), "wrong type"),
        (damaged(links={"l": 7}), "wrong type"),
        (damaged(links=7), "incomplete"),
        (damaged(files=[{**ENTRY, "read_at": float("nan")}]), "impossible"),
        (damaged(files=[{**ENTRY, "size": -1}], totals={"files": 1, "bytes": -1}), "impossible"),
        (damaged(files=[{**ENTRY, "inode": [1]}]), "not enough"),
        (damaged(files=[{**ENTRY, "inode": [1, "2"]}]), "impossible"),
        (damaged(files=[{**ENTRY, "xattrs": {"a": 1}}]), "impossible"),
        (damaged(folders=[{"path": "f", "mode": "x", "mtime_ns": 1}]), "impossible"),
        (damaged(folders=[{"path": "a", "mode": 1, "mtime_ns": 1}]), "a path twice"),
        (damaged(folders=[{"path": "../f", "mode": 1, "mtime_ns": 1}]), "outside"),
    ],
)
def test_a_damaged_manifest_is_refused_with_the_reason(data: bytes, reason: str):
    with pytest.raises(ValueError, match=reason):
        load_manifest(data)


@pytest.mark.parametrize(
    "line", [b"x", b"0" * 64 + b" one space", b"\\" + b"0" * 64 + b"  bad\\q", b"\n", b"\\" * 3]
)
def test_a_bad_checksum_line_is_refused(line: bytes):
    with pytest.raises(ValueError, match=r"line 2|escape"):
        load_sums(b"0" * 64 + b"  good\n" + line + b"\n")


def test_names_are_shown_on_one_line_that_is_valid_utf8():
    assert shown("plain ✓") == "plain ✓"
    assert shown(os.fsdecode(b"a\nb\xff\x1b[31m")) == r"a\nb\xff\x1b[31m"


@given(names)
def test_shown_names_can_go_anywhere(name: bytes):
    text = shown(os.fsdecode(name))
    assert text.isprintable()
    text.encode("utf-8")


def test_paths_that_stay_inside():
    assert stays_inside("a/b..c/...")
    assert not any(stays_inside(path) for path in ("", "/", "/a", "a/", "a//b", "..", "a/../b", ".", "a\0"))


def test_sizes_for_people():
    assert [size_text(count) for count in (0, 1023, 1536, 5 * 2**30, 3 * 2**40)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 GiB",
        "3.0 TiB",
    ]


def test_the_bytes_of_a_manifest_are_those_of_its_files():
    assert ONE.bytes == 3
    assert replace(ONE, files=()).bytes == 0
