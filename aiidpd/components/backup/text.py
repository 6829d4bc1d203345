"""Words about backups for events, conditions and errors (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from aiidpd.components.backup.process.names import shown


def named(found: Mapping[str, str], total: int | None = None, most: int = 3) -> str:
    """Return the first of ``found``, each with its reason, and how many more there are."""
    count = len(found) if total is None else total
    parts = [f"{shown(path)} ({why})" if why else shown(path) for path, why in list(found.items())[:most]]
    rest = count - len(parts)
    return ", ".join(parts) + (f" and {rest} more" if rest > 0 else "")


def files_named(count: int, found: Mapping[str, str]) -> str:
    """Return ``count`` files for people, with the first of them by name: ``2 files (a, b)``."""
    return f"{count} file{'' if count == 1 else 's'}: {named(found, count)}"
