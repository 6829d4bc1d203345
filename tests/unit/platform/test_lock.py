from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.lock import StateLock


def refusal(place: Path) -> str:
    with pytest.raises(Misconfigured) as caught:
        StateLock.acquire(place)
    assert caught.value.remedy
    return str(caught.value)


def test_a_second_instance_is_told_of_the_first(tmp_path: Path) -> None:
    with StateLock.acquire(tmp_path) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"
        text = refusal(tmp_path)
        assert text.startswith(
            f"cannot use state directory {tmp_path}: another aiidpd uses it (pid {os.getpid()})"
        )
        assert "daemon.state_directory" in text
        assert lock.path.read_text() == f"{os.getpid()}\n"
    StateLock.acquire(tmp_path).release()


def test_two_folders_are_two_daemons(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with StateLock.acquire(tmp_path / "a"), StateLock.acquire(tmp_path / "b"):
        pass


def test_a_process_that_was_killed_holds_nothing(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from aiidpd.platform.lock import StateLock
        lock = StateLock.acquire(Path(sys.argv[1]))
        print("held", flush=True)
        time.sleep(60)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        try:
            assert f"(pid {process.pid})" in refusal(tmp_path)
        finally:
            process.kill()
            process.wait()
    with StateLock.acquire(tmp_path) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"  # the longer old number is gone too


@pytest.mark.parametrize("content", [b"", b"4194305\n", b"\xff\xfe not a pid \n" * 100])
def test_a_stale_file_is_fine(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lock").write_bytes(content)
    with StateLock.acquire(tmp_path) as lock:
        assert lock.path.read_text() == f"{os.getpid()}\n"


def test_a_child_program_does_not_inherit_the_lock(tmp_path: Path) -> None:
    lock = StateLock.acquire(tmp_path)
    child = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(b"x")
        child.stdin.flush()
        assert child.stdout.read(1) == b"x"  # now it is surely the other program
        lock.release()
        StateLock.acquire(tmp_path).release()
    finally:
        child.communicate()


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    assert "it does not exist; create it" in refusal(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    assert "it is not a directory" in refusal(tmp_path / "file")


def test_what_lies_in_the_locks_place_is_not_followed_or_opened(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    assert f"cannot lock {tmp_path / 'lock'}" in refusal(tmp_path)
    assert target.read_text() == "precious"
    (tmp_path / "lock").unlink()
    (tmp_path / "lock").mkdir()
    assert "Is a directory" in refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become a user who may not")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from aiidpd.kernel.errors import Misconfigured
        from aiidpd.platform.lock import StateLock
        os.chdir(sys.argv[1])
        os.setuid(65534)
        try:
            StateLock.acquire(Path("."))
        except Misconfigured as error:
            print(error)
    """)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("cannot lock lock: Permission denied; let uid 65534 write to .")
