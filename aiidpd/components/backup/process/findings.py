"""Findings of a verification as they come, and the bounded result that names them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from aiidpd.components.backup.process.names import shown
from aiidpd.components.backup.process.results import Damage, VerifyResult
from aiidpd.components.backup.process.source_check import Checked

MOST_NAMED: Final = 200
_LONGEST: Final = 500  # characters of a text


@dataclass(slots=True)
class Findings:
    """Damage that is there still, damage that was healed, and counts; the first of each kind are named."""

    read_contents: int = 0
    read_bytes: int = 0
    quarantined: tuple[str, ...] = ()
    checked: Checked = field(default_factory=Checked)
    _damaged: list[Damage] = field(default_factory=list)
    _damaged_total: int = 0
    _healed: list[Damage] = field(default_factory=list)
    _healed_total: int = 0

    @property
    def has_healed(self) -> bool:
        """Something was healed."""
        return self._healed_total > 0

    def damage(self, snapshot: str, name: str, reason: str) -> None:
        """Add a name that holds something wrong."""
        self._damaged_total += 1
        if self._damaged_total <= MOST_NAMED:
            self._damaged.append(Damage(short(snapshot), short(name), short(reason)))

    def healed(self, snapshot: str, name: str, reason: str, origin: str) -> None:
        """Add a name that holds a good copy again."""
        self._healed_total += 1
        if self._healed_total <= MOST_NAMED:
            self._healed.append(Damage(short(snapshot), short(name), short(reason), short(origin)))

    def result(
        self, facts: VerifyResult, broken: Mapping[str, str], rotten: Mapping[str, str]
    ) -> VerifyResult:
        """Return ``facts`` with these findings."""
        return replace(
            facts,
            read_contents=self.read_contents,
            read_bytes=self.read_bytes,
            damaged=tuple(self._damaged),
            damaged_total=self._damaged_total,
            healed=tuple(self._healed),
            healed_total=self._healed_total,
            broken=first(broken),
            broken_total=len(broken),
            rotten=first(rotten),
            rotten_total=len(rotten),
            source_files=self.checked.files,
            source_bytes=self.checked.bytes,
            source_skipped=self.checked.skipped,
            quarantined=tuple(map(short, self.quarantined[:MOST_NAMED])),
        )


def first(found: Mapping[str, str], most: int = MOST_NAMED) -> dict[str, str]:
    """Return the first of ``found``, each shortened."""
    return {short(name): short(text) for name, text in list(found.items())[:most]}


def short(text: str) -> str:
    """Return ``text`` as one line of bounded length."""
    line = shown(text)
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
