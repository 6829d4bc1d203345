"""What lies in the Debian package: its files; pages and completions that their readers understand."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from tests.endtoend import packages
from tests.endtoend.containers import ROOT
from tests.waiting import PATIENCE

pytestmark = [pytest.mark.real("shells"), pytest.mark.long, pytest.mark.timeout(600)]

SHARE = "usr/share"
BASH = """\
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"$(complete -p "$1" | sed 's/.* -F \\([^ ]*\\) .*/\\1/')"
printf '%s\\n' "${COMPREPLY[@]}"
"""
# A shell at a terminal, a TAB at its line, and what the line then is.
ZSH = r"""
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($1 \$fpath); autoload -U compinit; compinit -u -D; print READY"
zpty -r shell out $'*\nREADY*'
zpty -w -n shell "$2"$'\t'
zpty -w shell $'\x01print -r -- "FOUND:\x05"'
zpty -r shell out $'*\nFOUND:*\n'
print -r -- "$out"
"""


def run(*command: str, **environment: str) -> str:
    """Return what a command that must end well says, errors too."""
    done = subprocess.run(
        command,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def needs(missing: Callable[[str, str], None]) -> Callable[[str, str], None]:
    def check(program: str, package: str) -> None:
        if shutil.which(program) is None:
            missing(program, f"apt-get install {package}")

    return check


@pytest.fixture(scope="module")
def members(package: Path) -> dict[str, tarfile.TarInfo]:
    tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", str(package)], check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(tar)) as archive:
        return {each.name.removeprefix("./"): each for each in archive.getmembers()}


@pytest.fixture(scope="module")
def unpacked(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    run("dpkg-deb", "--extract", str(package), str(folder))
    return folder


def test_two_builds_are_the_same_bytes(
    package: Path, wheels: Path, tmp_path: Path, missing: Callable[[str, str], None]
) -> None:
    before = os.umask(0o077)  # nothing of whoever builds is left in it
    try:
        again = packages.built(packages.tools(missing), wheels, tmp_path)
    finally:
        os.umask(before)
    assert again.name == package.name
    assert again.read_bytes() == package.read_bytes()


def test_root_owns_all_and_nobody_else_may_write(members: dict[str, tarfile.TarInfo]) -> None:
    assert {(each.uname, each.gname) for each in members.values()} == {("root", "root")}
    assert {each.mtime for each in members.values()} == {packages.AT}
    modes = {name: each.mode for name, each in members.items() if not each.issym()}
    assert [name for name, mode in modes.items() if mode & 0o022] == []
    closed = {name for name, mode in modes.items() if not mode & 0o004}
    assert closed == {"etc/aiidpd", "etc/aiidpd/aiidpd.toml", "etc/aiidpd/gate.toml"}
    executable = {name for name, each in members.items() if each.isfile() and each.mode & 0o111}
    assert executable == {"opt/aiidpd/bin/aiidpd", "opt/aiidpd/bin/aiidpctl"}


def test_the_environment_is_the_program_and_nothing_to_install_with(
    unpacked: Path, members: dict[str, tarfile.TarInfo]
) -> None:
    program = unpacked / "opt/aiidpd"
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    wanted = {"aiidpd", "aiidpctl", "python", "python3", python}
    assert {each.name for each in (program / "bin").iterdir()} == wanted
    assert members["opt/aiidpd/bin/python"].linkname == f"/usr/bin/{python}"
    for name in ("aiidpd", "aiidpctl"):
        assert (program / "bin" / name).read_text().startswith("#!/opt/aiidpd/bin/python\n")
        assert members[f"usr/bin/{name}"].linkname == f"/opt/aiidpd/bin/{name}"
    assert "home = /usr/bin\n" in (program / "pyvenv.cfg").read_text()
    libraries = {each.name for each in (program / "lib" / python / "site-packages").iterdir()}
    assert not libraries & {"pip", "setuptools", "wheel", "flit_core"}
    for path in (unpacked / "opt").rglob("*"):
        if path.is_file() and path.stat().st_size < 1 << 20:
            assert str(ROOT).encode() not in path.read_bytes(), path


def test_every_module_is_compiled_for_its_place_and_never_compared_with_its_source(unpacked: Path) -> None:
    libraries = next((unpacked / "opt/aiidpd/lib").glob("python3*/site-packages"))
    sources = [path for path in libraries.rglob("*.py") if "__pycache__" not in path.parts]
    assert len(sources) > 1000
    for path in sources:
        compiled = path.parent / "__pycache__" / f"{path.stem}.{sys.implementation.cache_tag}.pyc"
        data = compiled.read_bytes()
        assert int.from_bytes(data[4:8], "little") == 1, path  # by a hash that is not checked
    assert b"/opt/aiidpd/lib/" in data
    assert str(unpacked).encode() not in data


def test_its_digests_and_its_configuration_are_listed(
    package: Path, members: dict[str, tarfile.TarInfo], tmp_path: Path
) -> None:
    run("dpkg-deb", "--control", str(package), str(tmp_path))
    listed = {line.split("  ", 1)[1] for line in (tmp_path / "md5sums").read_text().splitlines()}
    configuration = {line.removeprefix("/") for line in (tmp_path / "conffiles").read_text().splitlines()}
    assert configuration == {name for name in members if re.fullmatch(r"etc/.*\.toml", name)}
    assert listed == {name for name, each in members.items() if each.isfile()} - configuration


def test_manual_pages_are_shown_without_a_warning(unpacked: Path, needs: Callable[[str, str], None]) -> None:
    needs("man", "man-db groff-base")
    pages = sorted((unpacked / SHARE / "man").rglob("*.gz"))
    assert [page.name for page in pages] == [
        "aiidpctl.1.gz",
        "aiidpd.toml.5.gz",
        "gate.toml.5.gz",
        "aiidpd.8.gz",
    ]
    for page in pages:
        said = run(
            "man", "--warnings", "--local-file", str(page), MANWIDTH="80", LC_ALL="C.UTF-8", MANPAGER="cat"
        )
        assert "warning" not in said.splitlines()[0]
        assert not re.search(r"^(?:man|troff|grotty|<standard input>):", said, re.MULTILINE), said[:500]
        assert "SEE ALSO" in said or page.name == "aiidpd.toml.5.gz"
    shown = run("man", "--local-file", str(pages[0]), MANWIDTH="80", MANPAGER="cat", LC_ALL="C.UTF-8")
    for words in ("aiidpctl backup restore", "aiidpctl secrets rotate", "EXIT STATUS"):
        assert words in shown


@pytest.mark.parametrize(("shell", "place"), [("bash", "bash-completion"), ("zsh", "zsh"), ("fish", "fish")])
def test_completions_are_scripts_of_their_shell(
    unpacked: Path, shell: str, place: str, needs: Callable[[str, str], None]
) -> None:
    needs(shell, shell)
    files = sorted(path for path in (unpacked / SHARE / place).rglob("*") if path.is_file())
    assert len(files) == 2
    for path in files:
        assert run(shell, "-n", str(path)) == ""


LINES = [("aiidpctl back", "backup"), ("aiidpctl backup adop", "adopt"), ("aiidpd doc", "doctor")]


@pytest.mark.parametrize(("line", "word"), LINES)
def test_a_tab_completes_in_bash(
    unpacked: Path, line: str, word: str, needs: Callable[[str, str], None]
) -> None:
    needs("bash", "bash")
    script = unpacked / SHARE / "bash-completion/completions" / line.split(maxsplit=1)[0]
    assert run("bash", "-c", BASH, "bash", str(script), *line.split()).split() == [word]


@pytest.mark.parametrize(("line", "word"), LINES)
def test_a_tab_completes_in_zsh(
    unpacked: Path, tmp_path: Path, line: str, word: str, needs: Callable[[str, str], None]
) -> None:
    needs("zsh", "zsh")
    folder = unpacked / SHARE / "zsh/vendor-completions"
    said = run("zsh", "-f", "-c", ZSH, "zsh", str(folder), line, HOME=str(tmp_path), TERM="xterm")
    assert f"FOUND:{line.rpartition(' ')[0]} {word}" in said


@pytest.mark.parametrize(("line", "word"), LINES)
def test_a_tab_completes_in_fish(
    unpacked: Path, tmp_path: Path, line: str, word: str, needs: Callable[[str, str], None]
) -> None:
    needs("fish", "fish")
    script = unpacked / SHARE / "fish/vendor_completions.d" / f"{line.split(maxsplit=1)[0]}.fish"
    said = run("fish", "-c", f"source {script}; complete -C '{line}'", HOME=str(tmp_path))
    assert [each.split("\t")[0] for each in said.splitlines()] == [word]


def test_the_wheel_and_the_source_distribution_hold_the_program_and_its_tests(
    tmp_path: Path, missing: Callable[[str, str], None]
) -> None:
    made = run(str(packages.tools(missing)), str(ROOT / "packaging/dist.py"), str(tmp_path)).split()
    assert [Path(each).suffix for each in made] == [".whl", ".gz"]
    with tarfile.open(made[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {
        "tests/conftest.py",
        "Makefile",
        "packaging/lock.py",
        "packaging/deb/scripts/postinst",
        ".ci/run",
    }
    assert wanted <= names
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py")} <= names
    assert not any("__pycache__" in name for name in names)
