from __future__ import annotations

import pytest

from aiidpd.components.thermal.xid import MEANINGS, XidClass, XidEvent, XidLedger, meaning


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (13, XidClass.APPLICATION, "graphics engine exception"),
        (31, XidClass.APPLICATION, "MMU fault"),
        (43, XidClass.APPLICATION, "the GPU itself goes on"),
        (48, XidClass.HARDWARE, "two bits"),
        (62, XidClass.DRIVER, "controller"),
        (63, XidClass.HARDWARE, "replaced"),
        (74, XidClass.HARDWARE, "NVLink"),
        (79, XidClass.HARDWARE, "fallen off the bus"),
        (94, XidClass.HARDWARE, "contained"),
        (119, XidClass.DRIVER, "GSP"),
    ],
)
def test_the_codes_that_people_meet_are_known(code: int, kind: XidClass, words: str) -> None:
    assert meaning(code).kind is kind
    assert words in meaning(code).text


def test_a_code_that_nobody_knows_gets_no_class_made_up() -> None:
    assert meaning(99_999).kind is XidClass.UNKNOWN
    assert not any(found.kind is XidClass.UNKNOWN for found in MEANINGS.values())


def test_a_meaning_is_one_phrase() -> None:
    assert all(found.text and not found.text.endswith(".") for found in MEANINGS.values())


def test_the_ledger_counts_by_gpu_and_gives_news_once() -> None:
    ledger = XidLedger()
    events = [XidEvent("a", 31), XidEvent("b", 79), XidEvent("a", 31), XidEvent("a", 13)]
    for event in events:
        ledger.record(event)

    assert ledger.counts("a") == ((13, 1), (31, 2))
    assert ledger.counts("none") == ()
    assert ledger.uuids() == ("a", "b")
    assert ledger.take() == tuple(events)
    assert ledger.take() == ()
    assert ledger.counts("b") == ((79, 1),)
