"""Scripts of the maintainer: for any POSIX shell."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from deb.tree import ROOT

SCRIPTS = sorted((ROOT / "packaging/deb/scripts").iterdir())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_they_end_at_the_first_error_and_are_plain_shell(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "set -e" in lines
    assert subprocess.run(["/bin/sh", "-n", str(script)], check=False, capture_output=True).stderr == b""


def test_shellcheck_finds_nothing(missing: Callable[[str, str], None]) -> None:
    if shutil.which("shellcheck") is None:
        missing("shellcheck", "apt-get install shellcheck")
    done = subprocess.run(["shellcheck", *map(str, SCRIPTS)], check=False, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "packaging/deb/scripts" / name
    return subprocess.run(["/bin/sh", str(script), *arguments], check=False, capture_output=True, text=True)


@pytest.mark.parametrize("step", ["install", "upgrade"])
def test_an_older_version_is_refused_with_both_named_and_the_way_out(
    step: str, missing: Callable[[str, str], None]
) -> None:
    if shutil.which("dpkg") is None:
        missing("dpkg", "it is Debian's")
    done = run("preinst", step, "0.10.0", "0.9.0")
    assert done.returncode == 1
    assert "version 0.9.0 is not installed over 0.10.0, which is newer" in done.stderr
    assert "apt purge aiidpd" in done.stderr


def test_other_steps_of_dpkg_are_none_of_theirs() -> None:
    for name, *arguments in (
        ("preinst", "abort-upgrade", "0.1.0"),
        ("postinst", "triggered", "x"),
        ("prerm", "upgrade", "0.2.0"),
        ("prerm", "failed-upgrade", "0.2.0"),
        ("postrm", "upgrade", "0.2.0"),
        ("postrm", "abort-install"),
        ("postrm", "disappear"),
    ):
        done = run(name, *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), name
