"""Backed up, partly, not, or not known: by the catalog of the newest whole snapshot."""

from __future__ import annotations

from collections.abc import Mapping

from aiidpd.components.models.backed_up import BackupState, backup_of
from aiidpd.contracts.backups import BackupCatalog, CatalogFile
from tests.unit.components.models.site import MIB, made_up

GOOD = CatalogFile(2 * MIB, 1000, "a" * 64)
TWO = made_up("two", "/m/two/a", "/m/two/b")


def catalog(files: Mapping[str, CatalogFile], source: str = "/m") -> BackupCatalog:
    return BackupCatalog(source, "/backup", "20260101T000000Z", 100.0, 200.0, files)


def test_every_big_file_with_the_same_size_and_time_is_backed_up() -> None:
    found = backup_of(TWO, catalog({"two/a": GOOD, "two/b": GOOD}), "/m")
    assert (found.state, found.at, found.snapshot) == (BackupState.YES, 200.0, "20260101T000000Z")


def test_a_file_that_changed_or_is_missing_makes_it_partly() -> None:
    changed = CatalogFile(2 * MIB, 999, "a" * 64)
    for files in ({"two/a": GOOD}, {"two/a": GOOD, "two/b": changed}):
        found = backup_of(TWO, catalog(files), "/m")
        assert (found.state, found.at) == (BackupState.PARTLY, None)
        assert "1 of 2 big files" in found.reason


def test_none_of_them_is_not_backed_up_and_says_why() -> None:
    assert backup_of(TWO, catalog({}), "/m").reason == "it has changed since, or is new"
    elsewhere = backup_of(TWO, catalog({"two/a": GOOD}, "/other"), "/other")
    assert (elsewhere.state, elsewhere.reason) == (BackupState.NO, "it does not lie in /other")


def test_a_source_that_is_a_link_is_followed() -> None:
    found = backup_of(TWO, catalog({"two/a": GOOD, "two/b": GOOD}, "/link"), "/m")
    assert found.state is BackupState.YES


def test_what_can_not_be_known_is_not_known() -> None:
    assert backup_of(TWO, None, "").state is BackupState.UNKNOWN
    small = made_up("small", "/m/small", size=10)
    assert backup_of(small, catalog({}), "/m").state is BackupState.UNKNOWN
