from __future__ import annotations

from aiidpd.gate.log import WARNING, Log, printable


def test_a_flood_is_bounded_and_counted():
    lines: list[str] = []
    now = [0.0]
    log = Log(lines.append, lambda: now[0])
    for _ in range(500):
        log.line(WARNING, "denied")
    assert len(lines) == 30
    now[0] = 2.0
    log.line(WARNING, "denied")
    assert lines[-1] == "<4>denied (470 lines before it were left out)\n"
    log.line(WARNING, "again")
    assert lines[-1] == "<4>again\n"


def test_a_line_stays_one_line_of_ascii():
    assert printable("a\nb\x1b[2J\xe9\ud800") == "a\\nb\\x1b[2J\\xe9\\ud800"
    assert len(printable("x" * 5000)) == 400


def test_a_journal_that_is_gone_ends_nothing():
    def gone(_: str) -> None:
        raise BrokenPipeError

    Log(gone).line(WARNING, "denied")


def test_what_lasts_is_said_once_an_hour():
    lines: list[str] = []
    now = [0.0]
    log = Log(lines.append, lambda: now[0])
    for at, text in ((0, "none"), (9, "none"), (3601, "none"), (3602, "another"), (3603, "none")):
        now[0] = float(at)
        log.rarely(WARNING, text)
    assert lines == ["<4>none\n", "<4>none\n", "<4>another\n", "<4>none\n"]
