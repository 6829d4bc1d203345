"""Checks of the folders that are searched for models."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aiidpd.components.models.settings import ModelsSettings
from aiidpd.contracts.checks import Check, CheckResult, Surroundings, failed, ok


def checks(settings: ModelsSettings, around: Surroundings) -> tuple[Check, ...]:
    """Return the checks."""
    if not settings.folders:
        return ()
    return (Check("models", lambda: folders(settings.folders, around)),)


def folders(paths: tuple[Path, ...], around: Surroundings) -> Iterator[CheckResult]:
    """Yield whether the daemon sees each of ``paths``."""
    for path in paths:
        if around.sandbox is not None and not around.sandbox.shows(PurePosixPath(path)):
            cure = f"systemctl edit aiidpd: BindReadOnlyPaths={path} below [Service], and a restart"
            yield failed(f"{path} of models.folders is hidden from the service by its unit", cure)
        elif not path.is_dir():
            yield failed(f"{path} of models.folders is no folder", "mount or make it, or correct the path")
        else:
            yield ok(f"{path} of models.folders is there")
