"""Secrets that this machine is known to have, so that they can be taken out of a text wherever they occur."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, Final

from aiidpd.config.schema import PREFIX, Settings
from aiidpd.contracts.checks import Surroundings
from aiidpd.daemon.checks.keys import files_of, secrets_of
from aiidpd.daemon.schema import SCHEMA
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.encodings import forms
from aiidpd.platform.readfile import read_small
from aiidpd.platform.redaction import REDACTED, is_secret

KEY_FOLDERS: Final = (Path("/etc/aiidpd/secrets"), Path("/etc/aiidpd/credentials"), Path("/etc/credstore"))
_LARGEST: Final = 64 << 10
_MOST: Final = 1000  # files
_SHORTEST, _LONGEST = 8, 4096  # characters of a key that is no word, and of a line that may be a key
_WORD: Final = re.compile(r"[^\s\"'=:,;{}\[\]]{12,4096}")


class Secrets:
    """Secrets in all their forms; ``unread`` names the files of keys that this user may not read."""

    def __init__(self) -> None:
        self.unread: list[str] = []
        self._forms: set[str] = set()

    @classmethod
    def of(
        cls,
        settings: Settings,
        around: Surroundings,
        environ: Mapping[str, str],
        folders: tuple[Path, ...] = KEY_FOLDERS,
    ) -> Secrets:
        """Return those of the settings, the unit's credentials, the environment and the folders of keys."""
        found = cls()
        found.add(*secrets_of(settings).values())
        names = {name for name, key in SCHEMA.variables.items() if SCHEMA.holds_secret(key)}
        for name, value in environ.items():
            if name in names or is_secret(name, value) or (name.startswith(PREFIX) and "KEY" in name):
                found.add(value)
        handed = environ.get("CREDENTIALS_DIRECTORY")
        files = [*files_of(around).values(), *(each for folder in folders for each in _files(folder))]
        files += _files(Path(handed)) if handed else []
        for path in files[:_MOST]:
            found.read(path)
        return found

    def add(self, *secrets: str) -> None:
        """Add ``secrets``, each with and without blanks around it."""
        for secret in secrets:
            for each in {secret, secret.strip()}:
                self._forms |= forms(each)

    def read(self, path: Path) -> None:
        """Add what the file of keys at ``path`` holds: as a whole, by lines, and by what is a word in it."""
        try:
            text = read_small(path, _LARGEST).decode("utf-8", "replace")
        except Misconfigured:
            if os.path.lexists(path):
                self.unread.append(str(path))
            return
        self.add(*(each for each in (text, *text.splitlines()) if _SHORTEST <= len(each) <= _LONGEST))
        self.add(*(word for word in _WORD.findall(text) if _telling(word)))

    def take_out(self, text: str) -> str:
        """Return ``text`` without the secrets."""
        for form in sorted(self._forms, key=len, reverse=True):
            if form not in text:  # by far the most: that is found out faster than by one pattern of all
                continue
            if len(form) >= _SHORTEST:
                text = text.replace(form, REDACTED)
            else:  # it may be a part of any word or number
                text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(form)}(?![A-Za-z0-9])", REDACTED, text)
        return text

    def take_out_of(self, value: Any) -> Any:
        """Return a document of JSON without the secrets in its texts."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, Mapping):
            return {self.take_out(str(key)): self.take_out_of(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.take_out_of(each) for each in value]
        return self.take_out(str(value))

    def within(self, text: str) -> bool:
        """Return whether a secret of at least eight characters is in ``text`` all the same."""
        return any(len(form) >= _SHORTEST and form in text for form in self._forms)


def _telling(word: str) -> bool:
    """Return whether ``word`` looks like no name or path."""
    return not word.startswith("/") and any(map(str.isdigit, word)) and any(map(str.isalpha, word))


def _files(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from (each for each in islice(folder.rglob("*"), _MOST) if each.is_file())
