"""docs/metrics.md lists what is served, and what is served is whole."""

from __future__ import annotations

import re

import pytest

from tests.metrics_page import PAGE, Family, exposition, families, named

ROW = re.compile(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*) \| (.*) \|$", re.MULTILINE)
HOW = "run: python -m tests.metrics_page"


@pytest.fixture(scope="module")
def served() -> str:
    return exposition()


@pytest.fixture(scope="module")
def listed() -> dict[str, Family]:
    rows = ROW.findall(PAGE.read_text())
    return {
        name: Family(name, kind, text, set(labels.split(", ")) - {""}) for name, kind, labels, text in rows
    }


def agree(known: dict[str, Family], listed: dict[str, Family]) -> None:
    for name, family in known.items():
        assert name in listed, f"{name} is not on the page; {HOW}"
        assert (family.kind, family.text) == (listed[name].kind, listed[name].text), HOW
        assert family.labels <= listed[name].labels, f"{name}; {HOW}"


def test_what_is_served_is_on_the_page(served: str, listed: dict[str, Family]):
    agree(families(served), listed)


def test_what_the_source_names_is_on_the_page(listed: dict[str, Family]):
    assert len(named()) > 20
    agree(named(), listed)


def test_what_is_on_the_page_is_served_or_named(served: str, listed: dict[str, Family]):
    assert set(listed) == set(families(served)) | set(named()), HOW


def test_no_collector_fails(served: str):
    success = re.findall(
        r'^aiidpd_scrape_collector_success\{collector="(\w+)"\} (\S+)$', served, re.MULTILINE
    )
    assert len(success) > 5
    assert {name for name, value in success if float(value) != 1} == set()


def test_every_name_has_our_prefix(served: str):
    assert all(name.startswith("aiidpd_") for name in families(served))
