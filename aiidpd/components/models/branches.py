"""Repositories and branches on the hub that models came from (pure)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiidpd.components.models.scanned import ScannedModel
from aiidpd.formats.huggingface import is_commit
from aiidpd.formats.model_files import Layout

_DEFAULT: Final = "main"


def branch_of(model: ScannedModel) -> tuple[str, str] | None:
    """Return repository and branch on the hub of ``model``; None where it did not come from there."""
    found = model.model
    if found.layout not in (Layout.HUGGING_FACE, Layout.LM_STUDIO, Layout.FOLDER):
        return None
    if not found.repository or not is_commit(found.revision):
        return None
    return found.repository, next((ref for ref in found.refs if not is_commit(ref)), _DEFAULT)


def branches(models: Iterable[ScannedModel]) -> tuple[tuple[str, str], ...]:
    """Return repository and branch of each model that came from the hub, each once."""
    return tuple(dict.fromkeys(branch for model in models if (branch := branch_of(model))))
