"""The documents, compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ROW_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path):
    for target in LINK.findall(page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_rooms_in_the_architecture_are_the_rooms_there_are():
    drawn = (ROOT / "docs/architecture.md").read_text().split("```")[1]
    listed = set(re.findall(r"^ {2}(\w+)(?:/|\.py) ", drawn, re.MULTILINE))
    package = ROOT / "aiidpd"
    rooms = {
        entry.name.removesuffix(".py")
        for entry in package.iterdir()
        if (entry.suffix == ".py" and entry.name != "__init__.py") or (entry / "__init__.py").exists()
    }
    assert listed == rooms


def test_each_fault_that_we_claim_to_survive_names_a_test_that_exists():
    rows = [
        line
        for line in (ROOT / "docs/reliability.md").read_text().splitlines()
        if line.startswith("|") and not line.startswith(("| ---", "|---")) and "| test |" not in line
    ]
    assert len(rows) > 25
    for row in rows:
        named = ROW_TEST.findall(row)
        assert named, f"no test in: {row}"
        for file, name in named:
            assert (ROOT / file).exists(), f"{file} in: {row}"
            assert not name or f"def {name}(" in (ROOT / file).read_text(), f"{name} in: {row}"


def test_no_page_names_a_registry_or_a_place_on_somebodys_machine():
    for page in PAGES:
        found = re.findall(
            r"(?:pypi\.org|files\.pythonhosted|deb\.debian\.org|/root/|/work/)", page.read_text()
        )
        assert not found, f"{page.name}: {found}"
