"""Program that writes manual pages and completions, off the program that lies in the package.

``python -m deb.texts FOLDER``, with the package's libraries on the path; it needs shtab and argparse-manpage.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import shtab
from argparse_manpage.manpage import Manpage

from aiidpd import __version__
from aiidpd.__main__ import parser as daemon_parser
from aiidpd.cli import main as ctl
from aiidpd.config.document import page
from aiidpd.daemon.schema import SCHEMA
from deb.roff import Title, escape, from_markdown, head

_PAGES: Final = Path(__file__).parent / "pages"
_FILES: Final = frozenset({"FILE", "PATH"})
_FOLDERS: Final = frozenset({"DIR", "FOLDER"})
_SHELLS: Final = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/vendor-completions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}
_EXIT_CODES: Final = """\
0: done. 1: failed. 2: the command, the configuration, the state folder or a socket can't be used.
"""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each program, with all of its commands."""
    return {"aiidpd": daemon_parser(), "aiidpctl": ctl.parser(list(ctl.COMMANDS))}


def every(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield ``parser`` and those of its commands, theirs too."""
    yield parser
    for action in parser._actions:  # noqa: SLF001 -- argparse shows them nowhere else
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for each in action.choices.values():
                yield from every(each)


def completed(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    """Return ``parser`` with what names a file or a folder marked as such, for completions."""
    for each in every(parser):
        for action in each._actions:  # noqa: SLF001
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own way
            elif action.metavar in _FOLDERS:
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return parser


def manual(parser: argparse.ArgumentParser, section: int, about: str, more: dict[str, str]) -> str:
    """Return the manual page of a program, with ``more`` sections of text."""
    for each in every(parser):
        if each is not parser:
            each.description = None  # it is the help of the command, which stands above it
    parser.epilog = None
    data = {"manual_section": section, "project_name": "aiidpd", "version": __version__}
    shown = Manpage(
        parser,
        _data={**data, "manual_title": "aiidpd", "description": about, "date": _date()},
        format="single-commands-section",
    )
    text = str(shown).rstrip()
    return "\n".join(
        [text, *(f".SH {heading}\n{escape(words).strip()}" for heading, words in more.items()), ""]
    )


def files() -> Iterator[tuple[str, str]]:
    """Yield each file below /usr/share, and its text."""
    about = {
        "aiidpd": "the engineer on call for this machine's language models",
        "aiidpctl": "show and control aiidpd",
    }
    also = {
        "aiidpd": ("aiidpctl(1), aiidpd.toml(5), gate.toml(5)", _EXIT_CODES),
        "aiidpctl": ("aiidpd(8), aiidpd.toml(5), gate.toml(5)", ctl._EXIT_CODES),  # noqa: SLF001
    }
    for name, parser in parsers().items():
        section = 8 if name == "aiidpd" else 1
        see, codes = also[name]
        sections = {"EXIT STATUS": codes.removeprefix("exit codes: "), "SEE ALSO": see}
        if name == "aiidpd":
            sections = {"FILES": _FILES_TEXT, **sections}
        yield f"man/man{section}/{name}.{section}", manual(parser, section, about[name], sections)
    for name, parser in parsers().items():
        for shell, place in _SHELLS.items():
            yield place.format(name), shtab.complete(completed(parser), shell=shell)
    for name, words, text in (
        ("aiidpd.toml", "configuration of aiidpd", page(SCHEMA)),
        ("gate.toml", "configuration of the gate before Docker", (_PAGES / "gate.toml.md").read_text()),
    ):
        title = Title(name, 5, _date(), f"aiidpd {__version__}", words)
        yield f"man/man5/{name}.5", head(title) + from_markdown(text)


_FILES_TEXT: Final = """\
/etc/aiidpd/aiidpd.toml, /etc/aiidpd/conf.d/*.toml, /etc/aiidpd/gate.toml: the configuration.
/var/lib/aiidpd: the state.
/run/aiidpd/control.sock, /run/aiidpd/metrics.sock, /run/aiidpd-gate/docker.sock: the sockets.
/opt/aiidpd: the program.
"""


def _date() -> str:
    return datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC).date().isoformat()


def main(folder: Path) -> None:
    """Write every file below ``folder``."""
    for place, text in files():
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
