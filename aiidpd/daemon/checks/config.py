"""Check of the configuration, on which all others stand."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from aiidpd.config.load import DEFAULT_PATH, describe, load
from aiidpd.config.origin import Source
from aiidpd.config.problems import InvalidConfiguration
from aiidpd.config.schema import Settings
from aiidpd.contracts.checks import CheckResult, failed, ok, warning
from aiidpd.daemon.schema import SCHEMA

NAME = "config"


def read(path: Path | None, environ: Mapping[str, str]) -> tuple[Settings, list[tuple[str, CheckResult]]]:
    """Return the settings at ``path``, or the defaults where those can't be used, and what is to be said."""
    file = path or DEFAULT_PATH
    if closed := _closed(file):
        cure = "call aiidpd doctor as root; what follows is by the default configuration"
        return SCHEMA.settings(), [(NAME, warning(f"user {os.geteuid()} may not read {closed}", cure))]
    try:
        loaded = load(SCHEMA, path, environ)
    except InvalidConfiguration as error:
        lines = [
            (
                NAME,
                failed(
                    ": ".join(filter(None, (each.place, each.key, each.reason))),
                    each.remedy or "correct it; `aiidpd check` reads it again",
                ),
            )
            for each in error.problems
        ]
        return SCHEMA.settings(), lines
    set_here = [origin for _, _, origin in describe(loaded) if origin.layer is not Source.DEFAULT]
    files = [layer.path for layer in loaded.layers if layer.source is Source.FILE]
    named = ", ".join(files) or f"there is no {file}"
    return loaded.settings, [(NAME, ok(f"{named}: valid; {len(set_here)} keys are not at their defaults"))]


def _closed(file: Path) -> str:
    """Return what this user may not read of the configuration, empty where it may read all."""
    for path in (file.parent, file, file.parent / "conf.d"):
        try:
            path.stat()
        except PermissionError:
            return str(path)
        except OSError:
            continue
        if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
            return str(path)
    return ""
