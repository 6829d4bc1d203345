from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from aiidpd.cli.job import job_progress
from aiidpd.cli.text import Paint

PLAIN = Paint()


@dataclass
class JobCase:
    given: dict[str, Any]
    line: str


@pytest.mark.parametrize(
    "case",
    [
        JobCase({}, "b-1: queued"),
        JobCase(
            {"message": "copying", "done": 2**20, "total": 2**22, "unit": "bytes"},
            "b-1: copying  1.0 MiB of 4.0 MiB, 25 %",
        ),
        JobCase(
            {"message": "probing", "done": 1, "total": 3, "unit": "endpoints"},
            "b-1: probing  1 of 3 endpoints, 33 %",
        ),
    ],
)
def test_the_progress_of_a_job(case: JobCase) -> None:
    job = {"id": "b-1", "state": "queued", "message": "", "done": 0, "total": 0, "unit": ""} | case.given
    assert job_progress(job) == case.line
