"""Libraries that a shared object needs, of objects that are on every machine."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pydantic_core
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deb.elf import glibc, needed

OBJECT = next(Path(pydantic_core.__file__).parent.glob("*.so")).read_bytes()


def test_an_extension_of_rust_needs_the_c_library_and_that_of_the_compiler() -> None:
    found = needed(OBJECT)
    assert {"libc.so.6", "libgcc_s.so.1"} <= found
    assert all(name.endswith(".so") or ".so." in name for name in found)


def test_it_names_a_version_of_glibc_that_debian_12_has() -> None:
    assert (2, 2) < glibc(OBJECT) <= (2, 36)
    assert glibc(b"nothing") == (0, 0)
    assert glibc(b"\0GLIBC_2.9\0GLIBC_2.17\0GLIBC_2.2.5\0GLIBC_PRIVATE\0") == (2, 17)


@pytest.mark.parametrize("data", [b"", b"MZ", b"\x7fELF\x01\x01" + bytes(60)])
def test_what_is_none_is_said(data: bytes) -> None:
    with pytest.raises(ValueError, match="no ELF file"):
        needed(data)


@example(411, b"\x00\x00\x00\x00\x80")
@given(st.integers(0, 4096), st.binary(max_size=64))
def test_a_damaged_one_is_refused_or_read(at: int, junk: bytes) -> None:
    data = OBJECT[:at] + junk + OBJECT[at + len(junk) : 65536]
    with contextlib.suppress(ValueError):
        needed(data)
