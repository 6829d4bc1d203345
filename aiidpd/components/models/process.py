"""Child process that scans and verifies at the lowest priority: neither holds the interpreter of the daemon.

It reads one request from standard input and writes frames to standard output, each a length and a pickle.
Both ends are this program, and nothing that a disk holds is unpickled.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from aiidpd.components.models.check_signature import SignatureWanted, check_signature
from aiidpd.components.models.reading import be_quiet
from aiidpd.components.models.record import HashRecord, InspectedRecord
from aiidpd.components.models.scan import ScanControl, scan
from aiidpd.components.models.scanned import Scan, ScannedModel
from aiidpd.components.models.signatures import SignatureRecord
from aiidpd.components.models.verify import Verified, VerifyControl, Wanted, verify

LENGTH_BYTES: Final = 8
_PR_SET_PDEATHSIG: Final = 1
_EVERY: Final = 0.1  # seconds between two signs of life


@dataclass(frozen=True, slots=True)
class Step:
    """Sign of life: where the work is, and how much was read."""

    at: str
    bytes_done: int = 0
    files_done: int = 0


@dataclass(frozen=True, slots=True)
class FileRead:
    """One file that was read whole."""

    path: str
    record: HashRecord


@dataclass(frozen=True, slots=True)
class Failed:
    """End of the work by an error that nobody foresaw."""

    reason: str


@dataclass(frozen=True, slots=True)
class SignatureChecked:
    """Finding of the signature of the model with ``key``; None where it has none any more."""

    key: str
    record: SignatureRecord | None


Frame: TypeAlias = Step | FileRead | SignatureChecked | Failed | ScannedModel | Scan | Verified
"""The last one is a Scan (its models were sent before it), a Verified or a Failed."""
Send: TypeAlias = Callable[[Frame], None]


@dataclass(frozen=True, slots=True)
class ScanRequest:
    """Folders to search, each with whether it is configured, and what is known of models."""

    folders: tuple[tuple[Path, bool], ...]
    known: Mapping[str, InspectedRecord]

    def run(self, send: Send) -> None:
        """Search, and send what was found."""
        found = scan(self.folders, self.known, _Scanning(send))
        for model in found.models:
            send(model)
        send(replace(found, models=()))


@dataclass(frozen=True, slots=True)
class VerifyRequest:
    """Files to read and compare, and models whose signatures to check, where they have one."""

    files: tuple[Wanted, ...]
    signatures: tuple[SignatureWanted, ...] = ()

    def run(self, send: Send) -> None:
        """Read, and send what was found of each file and each signature."""
        control = _Verifying(send)
        found = verify(self.files, control, time.time)
        control.flush()
        for each in self.signatures:
            control.at = each.model.label
            record = check_signature(each, control.read, control.step, time.time)
            send(SignatureChecked(each.model.key, record))
            control.flush()
        send(found)


Request: TypeAlias = ScanRequest | VerifyRequest


class _Scanning(ScanControl):
    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send
        self._sent = 0.0

    def step(self, at: str) -> None:
        super().step(at)
        if time.monotonic() - self._sent >= _EVERY:
            self._sent = time.monotonic()
            self._send(Step(at))


class _Verifying(VerifyControl):
    def __init__(self, send: Send) -> None:
        super().__init__()
        self.read: dict[str, HashRecord] = {}
        self._send = send
        self._sent = 0.0

    def step(self, count: int) -> None:
        super().step(count)
        if time.monotonic() - self._sent >= _EVERY:
            self._sent = time.monotonic()
            self.flush()

    def flush(self) -> None:
        for path, record in self.take().items():
            self.read[path] = record
            self._send(FileRead(path, record))
        self._send(Step(self.at, self.bytes_done, self.files_done))


def write_frame(stream: BinaryIO, frame: Frame) -> None:
    """Write one frame."""
    data = pickle.dumps(frame)
    stream.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    stream.flush()


def main() -> None:
    """Carry out the request on standard input."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    frames = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    be_quiet()
    request: Request = pickle.load(sys.stdin.buffer)  # noqa: S301 -- of the daemon that started this
    try:
        request.run(lambda frame: write_frame(frames, frame))
    except BrokenPipeError:
        return  # nobody waits for it any more
    except Exception as error:  # noqa: BLE001 -- named where somebody can act on it
        write_frame(frames, Failed(f"{type(error).__name__}: {error}"))
