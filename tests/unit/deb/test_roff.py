"""Manual pages out of Markdown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.config.document import page
from aiidpd.daemon.schema import SCHEMA
from aiidpd.gate.settings import ACTS, RECREATE, UPGRADE, GateSettings, Rule
from deb.roff import Title, escape, from_markdown, head
from deb.tree import ROOT

REQUESTS = {"SH", "SS", "PP", "TP", "IP", "RS", "RE", "nf", "fi", "br"}


def requests(text: str) -> set[str]:
    return {line[1:].split(" ")[0] for line in text.splitlines() if line.startswith((".", "'"))}


def test_headings_paragraphs_lists_tables_and_code() -> None:
    text = "# Page\n\n## One\n\nA `b` **c**\nd.\n\n- x\n- y\n\n"
    text += (
        "| key | default | meaning |\n| --- | --- | --- |\n| `a` | `1` | Has \\| in it. |\n\n```\n.x\n```\n"
    )
    assert from_markdown(text) == (
        ".SH ONE\n.PP\nA \\fBb\\fR \\fBc\\fR d.\n.IP \\(bu 2\nx\n.IP \\(bu 2\ny\n"
        ".TP\n\\fBa\\fR\ndefault: \\fB1\\fR\n.br\nHas | in it.\n.br\n.PP\n.RS 4\n.nf\n\\&.x\n.fi\n.RE\n"
    )


@given(st.text(st.characters(codec="utf-8", exclude_characters="\n\r")))
def test_no_text_becomes_a_request(text: str) -> None:
    assert requests(from_markdown(f"{text}\n")) <= REQUESTS
    shown = escape(text)
    assert shown.isascii()
    assert "\n" not in shown


def test_a_head_has_the_name_and_what_it_is_about() -> None:
    text = head(Title("a.toml", 5, "2026-01-02", "aiidpd 1.0", "what-ever"))
    assert text.splitlines()[0] == '.TH A.TOML 5 "2026-01-02" "aiidpd 1.0" "aiidpd"'
    assert text.splitlines()[2] == "a.toml \\- what\\-ever"


def test_every_key_of_the_configuration_has_its_place() -> None:
    text = from_markdown(page(SCHEMA))
    assert requests(text) <= REQUESTS
    for key in SCHEMA.keys:
        assert f"\n.TP\n\\fB{escape(key[-1])}\\fR\n" in text


def test_the_gates_page_has_every_key_of_the_gate() -> None:
    text = (ROOT / "packaging/deb/pages/gate.toml.md").read_text()
    keys = {*GateSettings._fields, *Rule._fields} - {"rules"} | {"containers"}
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert sorted(rows) == sorted(keys)
    for act in (*ACTS, RECREATE, UPGRADE):
        assert f"`{act}`" in text
