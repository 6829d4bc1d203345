from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.contracts.checks import Sandbox, Surroundings

STRICT = Sandbox(
    strict=True, homes_hidden=True, writable=("/var/lib/aiidpd", "/mnt/backup"), shown=("/home/a/models",)
)


@pytest.mark.parametrize(
    ("path", "shown", "written"),
    [
        ("/var/lib/aiidpd/x", True, True),
        ("/mnt/backup", True, True),
        ("/mnt/backup2", True, False),
        ("/srv/models", True, False),
        ("/home/a/models/llama", True, False),
        ("/home/a", False, False),
        ("/root/x", False, False),
        ("/homes", True, False),
    ],
)
def test_a_strict_sandbox(path: str, shown: bool, written: bool):
    assert (STRICT.shows(PurePosixPath(path)), STRICT.may_write(PurePosixPath(path))) == (shown, written)


def test_other_sandboxes():
    assert Sandbox().may_write(PurePosixPath("/srv"))
    homes = Sandbox(homes_read_only=True)
    assert homes.shows(PurePosixPath("/home/a"))
    assert not homes.may_write(PurePosixPath("/home/a"))
    assert not Sandbox(hidden=("/srv",)).shows(PurePosixPath("/srv/x"))
    assert not Sandbox(strict=True, homes_hidden=True, writable=("/home/a",)).may_write(
        PurePosixPath("/home/a")
    )


@given(mode=st.integers(0, 0o777), wanted=st.integers(0, 7), owner=st.booleans(), member=st.booleans())
def test_rights_are_those_of_the_first_class_that_fits(mode: int, wanted: int, owner: bool, member: bool):
    around = Surroundings(1000, frozenset({50}))
    may = around.may(mode, 1000 if owner else 1, 50 if member else 51, wanted)
    digit = mode >> 6 if owner else mode >> 3 if member else mode
    assert may == (digit & wanted == wanted)
    assert Surroundings(0, frozenset()).may(mode, 1, 1, wanted)
