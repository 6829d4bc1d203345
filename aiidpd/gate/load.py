"""Reading of the gate's configuration, which nobody but root, or the gate's own user, may write."""

from __future__ import annotations

import os
import stat
import threading
from typing import Final

from aiidpd.gate.settings import GateSettings, WrongSettings, settings_of

_LARGEST: Final = 64 * 1024  # bytes


class SettingsFile:
    """File at ``path``, read anew when it has changed; without one the defaults hold. For any thread."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, ...] = ()
        self._settings = GateSettings()

    def read(self) -> GateSettings:
        """Return what it holds now. Raises WrongSettings."""
        with self._lock:
            try:
                descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except FileNotFoundError:
                self._stamp = ()
                return GateSettings()
            except OSError as error:
                raise WrongSettings(f"{self.path}: {error.strerror}") from None
            try:
                return self._read(descriptor)
            finally:
                os.close(descriptor)

    def _read(self, descriptor: int) -> GateSettings:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise WrongSettings(f"{self.path} is no file")
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise WrongSettings(
                f"{self.path} could be written by others than root: chown root and chmod go-w it"
            )
        if found.st_size > _LARGEST:
            raise WrongSettings(f"{self.path} is larger than {_LARGEST} bytes")
        stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        if stamp != self._stamp:
            self._settings = self._parsed(os.read(descriptor, _LARGEST))
            self._stamp = stamp
        return self._settings

    def _parsed(self, data: bytes) -> GateSettings:
        import tomllib  # noqa: PLC0415 -- a gate without a file does without it

        try:
            return settings_of(tomllib.loads(data.decode("utf-8")))
        except (ValueError, RecursionError, WrongSettings) as error:
            raise WrongSettings(f"{self.path}: {error}") from None
