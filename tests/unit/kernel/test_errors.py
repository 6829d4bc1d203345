"""Error texts say what, to what, why and what next."""

from __future__ import annotations

from aiidpd.kernel.errors import Misconfigured, Unavailable, describe


def test_an_error_reads_as_one_sentence():
    error = Misconfigured("open", "/x.toml", reason="permission denied", remedy="run chmod o+r /x.toml")
    assert str(error) == "cannot open /x.toml: permission denied; run chmod o+r /x.toml"


def test_a_foreign_error_keeps_its_type():
    assert describe(ValueError("bad\nvalue")) == "ValueError: bad value"
    assert describe(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_group_is_told_by_its_members_once_each():
    inner = Unavailable("reach", "engine", reason="gone")
    group = ExceptionGroup("g", [inner, ExceptionGroup("h", [ValueError("x"), ValueError("x")])])
    assert describe(group) == "cannot reach engine: gone; ValueError: x"
