"""Manual pages out of Markdown, as far as ours use it (pure)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_REMARK: Final = re.compile(r"<!--.*?-->", re.DOTALL)
_LEVELS: Final = {"##": ".SH", "###": ".SS"}
_CELL: Final = re.compile(r"(?<!\\)\|")


class Title(NamedTuple):
    """Head of a manual page."""

    name: str
    section: int
    date: str
    source: str
    about: str


def head(title: Title) -> str:
    """Return the first lines of a page, with its section NAME."""
    first = (
        f'.TH {escape(title.name.upper())} {title.section} "{title.date}" "{escape(title.source)}" "aiidpd"'
    )
    return f"{first}\n.SH NAME\n{escape(title.name)} \\- {escape(title.about)}\n"


def escape(text: str) -> str:
    """Return ``text`` as groff shows it as it is."""
    plain = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("'", "\\(aq")
    plain = plain.replace("^", "\\(ha").replace("~", "\\(ti").replace("`", "\\(ga")
    return "".join(each if each.isascii() else f"\\[u{ord(each):04X}]" for each in plain)


def from_markdown(text: str) -> str:
    """Return the body of a page: headings, paragraphs, lists, tables and blocks of code."""
    lines = _REMARK.sub("", text).splitlines()
    return "".join(f"{line}\n" for line in _blocks(lines))


def _blocks(lines: Sequence[str]) -> Iterator[str]:
    at = 0
    while at < len(lines):
        line = lines[at]
        if line.startswith("```"):
            end = _end(lines, at, lambda each: not each.startswith("```"))
            yield from (".PP", ".RS 4", ".nf", *(_first(escape(each)) for each in lines[at + 1 : end]))
            yield from (".fi", ".RE")
            end += 1
        elif line.startswith("|"):
            end = _end(lines, at, lambda each: each.startswith("|"))
            yield from _table([_cells(each) for each in lines[at:end]])
        else:
            end = _end(lines, at, _goes_on) if line.strip() and not line.startswith("#") else at + 1
            yield from _words(" ".join(each.strip() for each in lines[at:end]))
        at = end


def _end(lines: Sequence[str], at: int, within: Callable[[str], bool]) -> int:
    """Return the number of the first line after ``at`` that is not ``within`` the block."""
    return next((number for number in range(at + 1, len(lines)) if not within(lines[number])), len(lines))


def _goes_on(line: str) -> bool:
    """Return whether ``line`` belongs to the paragraph before it."""
    return bool(line.strip()) and not line.startswith(("#", "|", "```", "- "))


def _words(text: str) -> Iterator[str]:
    """Yield a heading, an item of a list or a paragraph; nothing of an empty line and of the page's title."""
    level, _, heading = text.partition(" ")
    if level in _LEVELS:
        yield f"{_LEVELS[level]} {_inline(heading.upper() if level == '##' else heading)}"
    elif text.startswith("- "):
        yield from (".IP \\(bu 2", _first(_inline(text[2:])))
    elif text and level != "#":
        yield from (".PP", _first(_inline(text)))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield a table as a list: the first cell of each row over the others."""
    if len(rows) < 2:  # noqa: PLR2004 -- its head, and the line below that
        return
    names, _, *rest = rows
    for first, *others in filter(None, rest):
        yield from (".TP", _first(f"\\fB{_inline(first, bold=False)}\\fR"))
        for name, cell in zip(names[1:], others, strict=False):
            said = cell if name == "meaning" or len(names) == 2 else f"{name}: {cell}"  # noqa: PLR2004
            if cell:
                yield _first(_inline(said))
                yield ".br"


def _cells(row: str) -> list[str]:
    return [each.strip().replace("\\|", "|") for each in _CELL.split(row)[1:-1]]


def _inline(text: str, *, bold: bool = True) -> str:
    """Return ``text`` with its code and its emphasis bold."""
    shown = escape(_LINK.sub(r"\1", text).replace("`", "\0").replace("**", "\1"))
    for mark in ("\0", "\1"):
        parts = shown.split(mark)
        if len(parts) % 2 == 0 or not bold:
            shown = "".join(parts)
            continue
        shown = "".join(
            f"\\fB{part}\\fR" if number % 2 and part else part for number, part in enumerate(parts)
        )
    return shown


def _first(line: str) -> str:
    """Return ``line`` so that its beginning is no request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
