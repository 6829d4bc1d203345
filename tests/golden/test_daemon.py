"""Figures of a simulated daemon in its first two minutes: each run gives the same, to the last digit."""

from __future__ import annotations

from tests.golden.golden import equals_golden, rows
from tests.golden.observed import Observed
from tests.metrics_page import families, named


def test_the_metrics_with_their_values(observed: Observed) -> None:
    # In which order families and series come is no promise.
    found = [block.splitlines() for block in observed.metrics.split("# HELP ")[1:]]
    blocks = ["\n".join(["# HELP " + head, kind, *sorted(series), ""]) for head, kind, *series in found]
    equals_golden("".join(sorted(blocks)), "metrics_page.txt")


def test_every_family_of_metrics(observed: Observed) -> None:
    known = families(observed.metrics)
    for name, family in named().items():
        known.setdefault(name, family).labels.update(family.labels)
    table = [(one.name, one.kind, ", ".join(sorted(one.labels)), one.text) for one in known.values()]
    equals_golden(rows(("name", "type", "labels", "help"), *sorted(table)), "metric_families.txt")


def test_the_documents_of_the_api(observed: Observed) -> None:
    for name, text in observed.documents.items():
        equals_golden(text, f"documents/{name}.json")


def test_the_files_of_the_state_directory(observed: Observed) -> None:
    written = {file.relative_to(observed.state) for file in observed.state.rglob("*") if file.is_file()}
    assert len(written) == 16
    for name in written:
        if name.suffix != ".sqlite3":
            equals_golden((observed.state / name).read_bytes().decode(), f"state_files/{name}")
