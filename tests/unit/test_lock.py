"""The lock files say the same as pyproject.toml, and nothing about where packages come from."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name
from packaging.version import Version

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ROOT / "packaging" / "requirements"
PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;]+) \\$")
HASH = re.compile(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$")
NAMES = (
    "runtime",
    "build",
    "signing",
    "load",
    "test",
    "lint",
    "lock",
    "package",
    "peers",
    "llama-cpp-python",
)


def pins(name: str) -> dict[str, Version]:
    found = {}
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if match := PIN.match(line):
            found[canonicalize_name(match["name"])] = Version(match["version"])
    return found


def wanted() -> list[tuple[str, str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    main = project["project"]
    groups = {
        "runtime": main["dependencies"],
        **main["optional-dependencies"],
        **project["dependency-groups"],
    }
    groups["build"] = [*groups["build"], *project["build-system"]["requires"]]
    return [(name, requirement) for name, requirements in groups.items() for requirement in requirements]


@pytest.mark.parametrize(("name", "text"), wanted())
def test_every_direct_requirement_is_locked_within_its_range(name: str, text: str) -> None:
    requirement = Requirement(text)
    locked = pins(name)
    assert canonicalize_name(requirement.name) in locked
    assert locked[canonicalize_name(requirement.name)] in requirement.specifier


def test_every_group_has_a_lock_and_every_lock_a_group() -> None:
    assert {name for name, _ in wanted()} == set(NAMES) == {path.stem for path in LOCKS.glob("*.txt")}


@pytest.mark.parametrize("name", NAMES)
def test_a_lock_holds_pins_hashes_and_comments_alone(name: str) -> None:
    hashed = True
    for line in (LOCKS / f"{name}.txt").read_text().splitlines():
        if PIN.match(line):
            assert hashed, f"the pin before {line} has no hash"
            hashed = False
        elif HASH.match(line):
            hashed = True
        else:
            assert line.lstrip().startswith("# "), line
            assert not re.search(r"://|(^|\s)/", line), line
    assert hashed


def test_no_two_locks_name_two_versions_of_one_package() -> None:
    together: dict[str, Version] = {}
    for name in ("build", "runtime", "signing", "test", "lint"):  # one environment; lock.txt has its own
        for package, version in pins(name).items():
            assert together.setdefault(package, version) == version, package
