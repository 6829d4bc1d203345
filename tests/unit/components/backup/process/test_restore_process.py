"""Restores and drills by the real program: killed at random moments, and spoken to in lines."""

import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aiidpd.components.backup.process.protocol import Line, decode_line, decode_request, encode
from aiidpd.components.backup.process.requests import DrillRequest, RestoreRequest
from aiidpd.components.backup.process.results import Named, RestoreResult, named
from tests.forms import short_and_long
from tests.unit.components.backup.conftest import Site
from tests.unit.components.backup.process.trees import described, fill

PROGRAM = (sys.executable, "-m", "aiidpd.components.backup.process")


def start(request: RestoreRequest | DrillRequest) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(PROGRAM, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(encode(request))
    process.stdin.flush()
    return process


def finish(process: subprocess.Popen[bytes]) -> Line:
    assert process.stdin is not None
    assert process.stdout is not None
    lines = [decode_line(line) for line in process.stdout]
    process.stdin.close()
    process.stdout.close()
    process.wait()
    return lines[-1]


@pytest.fixture
def big_site(tmp_path: Path) -> Site:
    site = Site(tmp_path / "source", tmp_path / "target")
    site.target.mkdir()
    fill(site.source, 1, count=400, size=30_000)
    for index in range(3):
        (site.source / f"large-{index}").write_bytes(random.Random(index).randbytes(12 << 20))
    site.backup()
    return site


@short_and_long("kills", 4, 60)
def test_a_killed_restore_leaves_whole_files_and_the_next_one_goes_on(
    big_site: Site, tmp_path: Path, kills: int
):
    place = tmp_path / "place"
    place.mkdir(mode=0o750)
    whole = described(big_site.source)
    request = RestoreRequest(str(big_site.target), str(place))
    numbers = random.Random(kills)
    for _ in range(kills):
        process = start(request)
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        time.sleep(numbers.uniform(0.0, 0.6))  # the moment is what varies
        process.send_signal(signal.SIGKILL)
        finish_killed(process)
        for path, thing in described(place).items():
            if Path(path).name.startswith(".aiidpd-restore-"):
                continue
            if not stat.S_ISDIR(thing.kind):
                assert (thing.content, thing.mode, thing.mtime_ns) == (
                    whole[path].content,
                    whole[path].mode,
                    whole[path].mtime_ns,
                )
    result = finish(start(request)).restore
    assert result is not None
    assert (result.failed.count, result.refused.count, result.written) == (0, 0, True)
    assert result.restored_files + result.same_files == 403
    assert described(place) == whole
    assert stat.S_IMODE(place.stat().st_mode) == 0o750


def finish_killed(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.wait()
    process.stdin.close()
    process.stdout.close()


def test_the_program_restores_and_drills_by_lines(big_site: Site, tmp_path: Path):
    restored = finish(start(RestoreRequest(str(big_site.target), str(tmp_path / "new")))).restore
    assert restored is not None
    assert restored.restored_files == 403
    drilled = finish(start(DrillRequest(str(big_site.target), str(tmp_path / "scratch")))).drill
    assert drilled is not None
    assert drilled.never == 0 or drilled.failed.count  # named .safetensors, and no such
    failure = finish(start(RestoreRequest(str(big_site.target), "relative"))).failure
    assert failure is not None
    assert failure.type == "Misconfigured"


def test_requests_and_results_go_through_a_line():
    for request in (
        RestoreRequest("/t", "/d", paths=("odd\udcff\n",), conflicts="skip", owner=True),
        DrillRequest("/t", "/s", seed=3),
    ):
        assert decode_request(encode(request)) == request
    result = RestoreResult("20270101T000000Z", "/d", True, 1, 2, failed=Named(1, {"\udcff": "why"}))
    assert decode_line(encode(Line(restore=result))).restore == result


def test_what_is_named_is_bounded():
    found = named({str(index): "why" for index in range(1000)})
    assert found.count == 1000
    assert len(found.first) == 200
