"""Settings for tests: tables with values as the code reads them, in seconds and bytes."""

from __future__ import annotations

from typing import Any, TypeVar

from aiidpd.config.fields import Table

TableT = TypeVar("TableT", bound=Table)


def made(kind: type[TableT], **values: Any) -> TableT:
    """Return the defaults of ``kind`` with ``values``, which need not be what a file may say."""
    unknown = values.keys() - kind.model_fields.keys()
    if unknown:
        raise TypeError(f"{kind.__name__} has no {', '.join(sorted(unknown))}")
    return kind().model_copy(update=values)
