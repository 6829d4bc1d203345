"""Texts of the Debian package."""

from __future__ import annotations

import re
from email.parser import HeaderParser

import pytest

from deb.control import Package, changelog, control, copyright_text, depends, sums, version

PACKAGE = Package(
    version="1.2.0",
    architecture="amd64",
    maintainer="Someone <someone@example.org>",
    summary="The engineer",
    python=(3, 11),
    libraries=frozenset({"libc.so.6", "libgcc_s.so.1", "libm.so.6"}),
    glibc=(2, 28),
    size=4711,
)


@pytest.mark.parametrize("text", ["1.2.0", "0.1.0~rc1", "1.0+git1"])
def test_versions_that_a_package_can_have(text: str) -> None:
    assert version(text) == text


@pytest.mark.parametrize("text", ["", "v1", "1.0-1", "1:0", "1 0", "1.0\n", "../1"])
def test_versions_that_it_can_not_have(text: str) -> None:
    with pytest.raises(ValueError, match="no version"):
        version(text)


def test_it_depends_on_the_python_that_it_was_built_for_and_on_what_its_libraries_need() -> None:
    assert depends(PACKAGE) == (
        "python3 (>= 3.11~)",
        "python3 (<< 3.12~)",
        "libc6 (>= 2.28)",
        "libgcc-s1",
        "systemd (>= 252)",
    )


def test_a_library_that_nobody_is_known_to_bring_is_no_package() -> None:
    with pytest.raises(ValueError, match=r"which package brings libodd\.so\.1"):
        depends(PACKAGE._replace(libraries=frozenset({"libc.so.6", "libodd.so.1"})))


def test_the_control_file_has_every_field_once_and_a_description_in_its_form() -> None:
    text = control(PACKAGE)
    fields = HeaderParser().parsestr(text)
    assert fields["Package"] == "aiidpd"
    assert fields["Recommends"] == "docker.io | docker-ce"
    assert fields["Suggests"] == "restic, rclone, libnotify-bin"
    assert fields["Installed-Size"] == "4711"
    assert len(fields.keys()) == len(set(fields.keys()))
    assert text.endswith("\n")
    lines = text.partition("Description: ")[2].splitlines()
    assert lines[0] == "The engineer"
    assert all(re.fullmatch(r" \.| \S.{0,78}", line) for line in lines[1:])


def test_the_changelog_ends_as_debians_do() -> None:
    lines = changelog("# Changelog\n\n- One\n", PACKAGE, 0).splitlines()
    assert lines[0] == "aiidpd (1.2.0) stable; urgency=medium"
    assert lines[2] == "  # Changelog"
    assert lines[3] == ""
    assert lines[-1] == " -- Someone <someone@example.org>  Thu, 01 Jan 1970 00:00:00 +0000"


def test_without_a_licence_it_says_so_and_names_those_of_the_libraries() -> None:
    text = copyright_text("", [("anyio", "4.16.0", "MIT")])
    assert "states no licence" in text
    assert "  anyio 4.16.0: MIT\n" in text
    assert "states no licence" not in copyright_text("Our licence", [])


def test_sums_stand_in_the_order_of_their_paths() -> None:
    assert sums({"usr/b": "2" * 32, "opt/a": "1" * 32}) == f"{'1' * 32}  opt/a\n{'2' * 32}  usr/b\n"
