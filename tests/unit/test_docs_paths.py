"""The files, modules, settings, metrics and events that the pages name exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aiidpd.daemon.schema import SCHEMA

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
SPAN = re.compile(r"`([^`\n]+)`")
SOURCE_PATH = re.compile(r"(?:\w[\w.-]*/)*\w+\.(?:py|toml|conf|service)|(?:\w+/)+")
DOTTED = re.compile(r"[a-z_]+(?:\.\w+)+")
TREE = {
    path.relative_to(ROOT).as_posix() + ("/" if path.is_dir() else "")
    for top in ("aiidpd", "bench", "docs", "etc", "packaging", "tests")
    for path in ((ROOT / top), *(ROOT / top).rglob("*"))
} | {"pyproject.toml"}
MADE_WHILE_IT_RUNS = re.compile(
    r"my\.toml|incidents/|(?:TARGET|snapshots|partial|incomplete|quarantine|files|blobs|objects|replaced|models)/.*"
    r"|.*\.(?:sock|unreadable)"
)
OF_OTHERS = {  # Python's own; a file; tasks
    "http.client",
    "model.sig",
    "containers.stop",
    "containers.pause",
    "containers.heal",
    "containers.use",
    "models.jobs",
}


def spans(page: Path) -> list[str]:
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    return [span.strip() for span in SPAN.findall(prose)]


def exists(named: str) -> bool:
    """Return whether ``named`` is a path from the root, or the end of one; NAME is any folder."""
    pattern = re.compile(r"(?:.*/)?" + re.escape(named).replace("NAME", "[^/]+"))
    return any(pattern.fullmatch(path) for path in TREE)


def is_defined(dotted: str) -> bool:
    """Return whether ``dotted`` is a module, from the root or from the package, or a name in one."""
    module, _, name = dotted.rpartition(".")
    for place in (ROOT, ROOT / "aiidpd"):
        if (place / dotted.replace(".", "/")).is_dir() or (
            place / (dotted.replace(".", "/") + ".py")
        ).exists():
            return True
        source = place / (module.replace(".", "/") + ".py")
        if source.exists() and re.search(
            rf"^(?:class|(?:async )?def) {name}\b", source.read_text(), re.MULTILINE
        ):
            return True
    return False


@PAGE
def test_every_path_that_a_page_names_exists(page: Path):
    named = {span for span in spans(page) if SOURCE_PATH.fullmatch(span)}
    assert {path for path in named if not MADE_WHILE_IT_RUNS.fullmatch(path) and not exists(path)} == set()


@PAGE
def test_every_key_event_and_module_that_a_page_names_exists(page: Path):
    names = {".".join(map(str, key)) for key in (*SCHEMA.keys, *SCHEMA.sections)}
    names |= set((ROOT / "tests/golden/event_kinds.txt").read_text().splitlines())
    first = {name.partition(".")[0] for name in names} | {path.name for path in (ROOT / "aiidpd").iterdir()}
    named = {span for span in spans(page) if DOTTED.fullmatch(span) and span.partition(".")[0] in first}
    strange = {name for name in named if not MADE_WHILE_IT_RUNS.fullmatch(name) and not exists(name)}
    assert {name for name in strange - names - OF_OTHERS if not is_defined(name)} == set()


@PAGE
def test_what_a_page_sets_is_a_key(page: Path):
    keys = {".".join(map(str, key)) for key in SCHEMA.keys}
    assert {match[1] for span in spans(page) if (match := re.match(r"([a-z_]+\.[\w.]+) = ", span))} <= keys


@PAGE
def test_every_metric_that_a_page_names_exists(page: Path):
    families = set(re.findall(r"^\| `(\w+)`", (ROOT / "docs/metrics.md").read_text(), re.MULTILINE))
    assert set(re.findall(r"\baiidpd_\w+[a-z]\b(?!\*)", "\n".join(spans(page)))) <= families
