"""Requests served by a real process: a verification and a summary."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aiidpd.components.backup.process.protocol import Line, Request, decode_line, decode_request, encode
from aiidpd.components.backup.process.requests import RunRequest, SummaryRequest, VerifyRequest
from tests.unit.components.backup.process.places import Place, flip


def served(request: Request) -> list[Line]:
    """Return the lines that a process writes for ``request``; it ends by itself."""
    with subprocess.Popen(
        [sys.executable, "-m", "aiidpd.components.backup.process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(encode(request))
        process.stdin.flush()
        lines = [decode_line(line) for line in process.stdout]
    assert process.returncode == 0
    return lines


def test_each_kind_of_request_has_its_result(place: Place):
    *_, line = served(RunRequest(str(place.source), str(place.target), settle=0.0))
    assert line.run is not None
    flip(place.file(line.run.snapshot, "config.json"), 3)
    *progress, line = served(VerifyRequest(str(place.target), source_budget=1 << 40))
    assert line.verify is not None
    assert (line.verify.whole, line.verify.healed_total, line.verify.source_files) == (True, 2, 3)
    phases = [each.progress.phase for each in progress if each.progress is not None]
    assert list(dict.fromkeys(phases)) == ["listing", "verifying", "healing", "checking the source"]
    *_, line = served(SummaryRequest(str(place.target)))
    assert line.summary is not None
    assert line.summary.never_proven_bytes == 0


def test_a_verification_that_fails_says_why(place: Place):
    *_, line = served(VerifyRequest(str(place.target)))
    assert line.failure is not None
    assert (line.failure.type, line.failure.reason) == ("Unavailable", "it holds no snapshots")


@pytest.mark.parametrize("request_", [VerifyRequest("/mnt", mode="due"), SummaryRequest("/mnt")])
def test_requests_survive_the_way(request_: Request):
    assert decode_request(encode(request_)) == request_
