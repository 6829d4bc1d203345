"""Repositories elsewhere by the real restic and rclone, and what really happens to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

import aiidpd
from aiidpd.components.backup.offsite import conditions
from aiidpd.components.backup.offsite.result import Failure
from aiidpd.components.backup.offsite.settings import RepositorySettings
from aiidpd.kernel.jobs import JobState
from tests.fakes.offsite import (
    PASSWORD,
    OffsiteSite,
    is_installed,
    obscured,
    rclone_at,
    rclone_config,
    restic_at,
    served,
)
from tests.waiting import PATIENCE, Stopwatch, eventually, until

pytestmark = pytest.mark.real("restic", "rclone")

MIB = 2**20


@pytest.fixture(autouse=True)
def programs(missing: Callable[[str, str], None]) -> None:
    for program in ("restic", "rclone", "sha256sum"):
        if not is_installed(program):
            missing(program, f"apt-get install {program}")


@pytest.fixture
def site(tmp_path: Path) -> OffsiteSite:
    site = OffsiteSite(tmp_path)
    site.write("llama/model.gguf", 2 * MIB)
    site.write("llama/tokenizer.json", 1000)
    (site.source / "link").symlink_to("llama/model.gguf")
    site.backup()
    return site


@pytest.fixture
def small_disk(tmp_path: Path, missing: Callable[[str, str], None]) -> Iterator[Path]:
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "aiidpd-test", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        missing("small file system", f"mounting a tmpfs needs root: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def kinds(tmp_path: Path) -> dict[str, RepositorySettings]:
    """Return a repository of each kind that lies on this disk."""
    config = rclone_config(
        tmp_path / "rclone.conf",
        disk={"type": "local"},
        secret={"type": "crypt", "remote": str(tmp_path / "crypted"), "password": obscured(PASSWORD)},
    )
    return {
        "restic": restic_at(tmp_path / "repository"),
        "rclone": rclone_at(f"disk:{tmp_path}/plain", config),
        "crypt": rclone_at("secret:models", config),
    }


def equal_trees(one: Path, other: Path) -> bool:
    """Return whether both hold the same names with the same bytes and links."""

    def found(root: Path) -> dict[Path, object]:
        return {
            path.relative_to(root): path.readlink()
            if path.is_symlink()
            else path.is_dir() or path.read_bytes()
            for path in root.rglob("*")
        }

    return found(one) == found(other)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone", "crypt"])
async def test_a_snapshot_is_sent_verified_and_comes_back_equal(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    far = kinds(tmp_path)[kind]
    assert (await site.done("init", far)).status.state is JobState.SUCCEEDED
    first = (await site.done("run", far)).status
    assert first.state is JobState.SUCCEEDED, first.error
    assert int(str(first.result["new_bytes"])) >= 2 * MIB
    assert first.result["verified"] == first.result["verified_of"] != 0
    site.write("new.bin", 500)
    site.backup()
    second = (await site.done("run", far)).status
    assert 500 <= int(str(second.result["new_bytes"])) < MIB  # what is there is not sent again
    record = site.record()
    assert site.snapshot is not None
    assert record.snapshot == site.snapshot.id
    assert record.covered_at == record.verified_at > 0
    restored = tmp_path / "restored"
    back = (await site.done("restore", far, to=str(restored))).status
    assert back.result["proven"] is True, back.error
    assert equal_trees(restored / "files", site.source)
    assert site.wrong() == {}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone", "crypt"])
async def test_nothing_is_sent_to_a_place_that_was_not_made_on_purpose(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    far = kinds(tmp_path)[kind]
    before = names_in(tmp_path)
    job = await site.done("run", far)
    assert "aiidpctl backup offsite init far" in job.status.error
    assert site.record().failure == Failure.NO_REPOSITORY
    assert conditions.FAILED in site.wrong()
    assert names_in(tmp_path) == before
    assert (await site.done("init", far)).status.state is JobState.SUCCEEDED
    assert (await site.done("init", far)).status.state is JobState.FAILED  # there is one: it stays
    assert (await site.done("run", far)).status.state is JobState.SUCCEEDED
    assert site.wrong() == {}


@pytest.mark.anyio
async def test_a_wrong_password_is_named_and_the_right_one_is_never_shown(
    site: OffsiteSite, tmp_path: Path
) -> None:
    far = restic_at(tmp_path / "repository")
    await site.done("init", far)
    wrong = far.model_copy(update={"password": SecretStr("no such password")})
    job = await site.done("run", wrong)
    assert site.record().failure == Failure.WRONG_PASSWORD
    assert "aiidpd.offsite.repositories.far.password" in job.status.error
    seen = set()
    slow = far.model_copy(update={"rate": 4 * MIB})
    async with site.worker(slow), anyio.create_task_group() as group:
        group.start_soon(site.act, "run", "far")
        while not seen:
            seen = {content for path in children_of("restic", "cmdline") if (content := of_process(path))}
            await anyio.sleep(0.001)
        environments = [of_process(path) for path in children_of("restic", "environ")]
    assert not any(PASSWORD.encode() in each for each in (*seen, *environments))
    assert not any(PASSWORD in f"{each.reason} {each.evidence}" for each in site.events)


def runs(process: int) -> bool:
    """Return whether there is a process with this id."""
    return Path("/proc", str(process)).exists()


def children_of(name: str, file: str) -> list[Path]:
    """Return ``file`` in /proc of each child of this process that is called ``name``."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text()
            if f"({name})" in fields and int(fields.rpartition(")")[2].split()[1]) == os.getpid():
                found.append(path / file)
        except OSError:
            continue
    return found


def of_process(path: Path) -> bytes:
    """Return what a file of /proc holds, nothing where its process has ended meanwhile."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


async def child(name: str) -> int:
    """Return the id of our child that is called ``name``, once there is one that has worked for a while."""
    with anyio.fail_after(PATIENCE):
        while True:
            for path in children_of(name, "cmdline"):
                content = of_process(path)
                if b"backup\0" in content or b"sync\0" in content:
                    return int(path.parent.name)
            await anyio.sleep(0.005)


def names_in(folder: Path) -> set[str]:
    """Return the names of what lies in ``folder``."""
    return {path.name for path in folder.iterdir()}


def locks(place: Path) -> list[Path]:
    """Return the locks of the repository at ``place``; what restic was writing when it was killed is none."""
    return [path for path in (place / "locks").iterdir() if "-tmp-" not in path.name]


@pytest.mark.anyio
async def test_a_lock_of_a_restic_that_was_killed_is_removed_and_one_of_a_living_is_not(
    site: OffsiteSite, tmp_path: Path
) -> None:
    place = tmp_path / "repository"
    far = restic_at(place, keep_last=1)
    await site.done("init", far)
    slow = far.model_copy(update={"rate": 256 * 1024})
    async with site.worker(slow):
        process = await child("restic")
        with anyio.fail_after(PATIENCE):
            while not locks(place):  # noqa: ASYNC110 -- a folder sets no event
                await anyio.sleep(0.01)
        os.kill(process, signal.SIGKILL)
        await site.ended()
    assert site.record().failure == Failure.ENDED
    assert len(locks(place)) == 1
    job = await site.done("run", far)
    assert job.status.state is JobState.SUCCEEDED, (
        job.status.error
    )  # check and prune need the lock for themselves
    assert locks(place) == []

    big = tmp_path / "another"
    big.write_bytes(os.urandom(8 * MIB))
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(tmp_path / "cache")}
    command = ["restic", "-r", str(place), "backup", "--quiet", "--limit-upload", "300", str(big)]
    with subprocess.Popen(command, env=environment) as other:  # noqa: ASYNC220 -- it runs beside ours
        until(lambda: locks(place))
        job = await site.done("verify", far)
        assert other.poll() is None
        assert len(locks(place)) == 1
        other.terminate()
    assert "locked" in job.status.error


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone"])
async def test_a_disk_that_is_full_there_is_named_and_what_was_there_stays(
    site: OffsiteSite, small_disk: Path, tmp_path: Path, kind: str
) -> None:
    config = rclone_config(tmp_path / "rclone.conf", disk={"type": "local"})
    place = small_disk / "far"
    far = restic_at(place) if kind == "restic" else rclone_at(f"disk:{place}", config)
    await site.done("init", far)
    assert (await site.done("run", far)).status.state is JobState.SUCCEEDED
    first = site.record().snapshot
    large = site.write("large.bin", 4 * MIB)
    site.backup()
    job = await site.done("run", far)
    assert site.record().failure == Failure.FULL, job.status.error
    assert site.record().snapshot == first
    large.unlink()
    restored = tmp_path / "restored"
    back = await site.done("restore", far, to=str(restored))
    assert back.status.result.get("proven") is True, back.status.error
    for name in ("llama/model.gguf", "llama/tokenizer.json"):
        assert (restored / "files" / name).read_bytes() == (site.source / name).read_bytes()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone"])
async def test_a_server_that_is_gone_in_the_middle_fails_the_run_and_the_next_completes_it(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    there = tmp_path / "there"
    there.mkdir()
    protocol = "restic" if kind == "restic" else "webdav"
    site.stall_after = 3.0
    with served(protocol, folder=there) as (port, server):
        url = f"http://127.0.0.1:{port}"
        config = rclone_config(
            tmp_path / "rclone.conf", web={"type": "webdav", "url": url, "vendor": "other"}
        )
        far = restic_at(f"rest:{url}/") if kind == "restic" else rclone_at("web:models", config)
        assert (await site.done("init", far)).status.state is JobState.SUCCEEDED
        slow = far.model_copy(update={"rate": 256 * 1024})
        async with site.worker(slow):
            await child(kind)
            server.kill()
            await site.ended()
        assert site.record().snapshot == ""
        assert conditions.FAILED in site.wrong()
    with served(protocol, folder=there, port=port):
        job = await site.done("run", far)
        assert job.status.state is JobState.SUCCEEDED, job.status.error
        assert site.wrong() == {}
        back = await site.done("restore", far, to=str(tmp_path / "restored"))
        assert back.status.result.get("proven") is True, back.status.error


def flip(path: Path, at: int) -> bytes:
    """Flip a bit of the byte ``at`` of ``path``, leave size and time alone, and return what it held."""
    status, data = path.stat(), path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return data


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone", "crypt"])
async def test_a_flipped_bit_there_is_found_and_is_a_condition_until_it_is_repaired(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    far = kinds(tmp_path)[kind]
    await site.done("init", far)
    assert (await site.done("run", far)).status.state is JobState.SUCCEEDED
    place = {"restic": "repository/data", "rclone": "plain/current", "crypt": "crypted"}[kind]
    largest = max(
        (path for path in (tmp_path / place).rglob("*") if path.is_file()), key=lambda p: p.stat().st_size
    )
    good = flip(largest, MIB)
    job = await site.done("run", far)
    assert job.status.state is JobState.FAILED
    assert conditions.DAMAGED in site.wrong()
    assert conditions.FAILED not in site.wrong()  # trying again would read it all again, and find the same
    assert site.record().damage
    assert any(each.kind == "backup.offsite_failed" for each in site.events)
    assert (await site.done("verify", far)).status.state is JobState.FAILED
    assert conditions.DAMAGED in site.wrong()  # over a restart of the worker too
    largest.write_bytes(good)
    assert (await site.done("verify", far, all=True)).status.state is JobState.SUCCEEDED
    assert site.wrong() == {}


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone"])
async def test_damage_is_repaired_as_the_page_says(site: OffsiteSite, tmp_path: Path, kind: str) -> None:
    far = kinds(tmp_path)[kind]
    await site.done("init", far)
    await site.done("run", far)
    place = tmp_path / {"restic": "repository/data", "rclone": "plain/current"}[kind]
    largest = max(
        (path for path in place.rglob("*") if path.is_file() and not path.is_symlink()),
        key=lambda path: path.stat().st_size,
    )
    flip(largest, MIB)
    assert (await site.done("verify", far)).status.state is JobState.FAILED
    assert largest.name[:20] in site.record().damage
    largest.rename(tmp_path / "moved away")
    if kind == "restic":
        rebuild_index(tmp_path / "repository", tmp_path)
    job = await site.done("run", far)
    assert job.status.state is JobState.SUCCEEDED, job.status.error
    assert int(str(job.status.result["new_bytes"])) >= 2 * MIB
    assert (await site.done("verify", far, all=True)).status.state is JobState.SUCCEEDED
    assert site.wrong() == {}
    back = await site.done("restore", far, to=str(tmp_path / "restored"))
    assert back.status.result.get("proven") is True, back.status.error


def rebuild_index(place: Path, folder: Path) -> None:
    """Have restic make the index of the repository at ``place`` anew."""
    environment = {**os.environ, "RESTIC_PASSWORD": PASSWORD, "RESTIC_CACHE_DIR": str(folder / "cache")}
    command = ["restic", "-r", str(place), "rebuild-index", "--quiet"]
    subprocess.run(command, env=environment, check=True)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone"])
async def test_a_run_that_is_cancelled_ends_its_program_within_2_seconds(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    far = kinds(tmp_path)[kind].model_copy(update={"rate": 128 * 1024})
    await site.done("init", far)
    async with site.worker(far):
        process = await child(kind)
        cancelled = Stopwatch()
    assert cancelled.within(2.0)

    async def lives() -> bool:
        return runs(process)

    # What runs idle takes its time to die on a busy machine, and the event loop must see that it has.
    await eventually(lives, lambda found: not found)
    await anyio.sleep(0.1)
    assert site.record().snapshot == ""
    assert site.book.all()[-1].state is JobState.FAILED


def test_a_daemon_that_is_killed_takes_its_program_with_it() -> None:
    code = """
import anyio
from pathlib import Path
from aiidpd.components.backup.offsite.program import Program
from aiidpd.kernel.clock import SystemClock
program = Program("sleep", package="x", environment={}, clock=SystemClock(), stall_after=60)
async def main():
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: program.run(("1000",), directory=Path("/")))
        while not program.pid: await anyio.sleep(0.01)
        while Path("/proc", str(program.pid), "comm").read_text().strip() != "sleep": await anyio.sleep(0.01)
        print(program.pid, flush=True)
anyio.run(main)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(aiidpd.__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as daemon:
        assert daemon.stdout is not None
        program = int(daemon.stdout.readline())
        daemon.kill()
    until(lambda: not runs(program))


@pytest.mark.anyio
async def test_what_was_replaced_or_removed_stays_with_rclone(site: OffsiteSite, tmp_path: Path) -> None:
    far = kinds(tmp_path)["rclone"]
    await site.done("init", far)
    await site.done("run", far)
    old = (site.source / "llama/model.gguf").read_bytes()
    (site.source / "llama/model.gguf").write_bytes(b"another")
    (site.source / "llama/tokenizer.json").unlink()
    snapshot = site.backup()
    job = await site.done("run", far)
    assert job.status.state is JobState.SUCCEEDED, job.status.error
    replaced = tmp_path / "plain/replaced" / snapshot.id / "files/llama"
    assert (replaced / "model.gguf").read_bytes() == old
    # Not what was moved there: the two lists of the snapshot and the file that is another one now.
    lists = sum((snapshot.folder / name).stat().st_size for name in ("SHA256SUMS", "manifest.json"))
    assert job.status.result["new_bytes"] == lists + len(b"another")
    assert (replaced / "tokenizer.json").stat().st_size == 1000
    assert (tmp_path / "plain/current/files/llama/model.gguf").read_bytes() == b"another"
    assert not (tmp_path / "plain/current/files/llama/tokenizer.json").exists()


@pytest.mark.anyio
async def test_retention_leaves_as_many_as_it_says_and_the_newest_always(
    site: OffsiteSite, tmp_path: Path
) -> None:
    far = restic_at(tmp_path / "repository", keep_last=2)
    await site.done("init", far)
    for number in range(4):
        site.write(f"{number}.bin", 1000)
        site.backup()
        assert (await site.done("run", far)).status.state is JobState.SUCCEEDED
    assert len(list((tmp_path / "repository/snapshots").iterdir())) == 2
    restored = tmp_path / "restored"
    await site.done("restore", far, to=str(restored))
    assert equal_trees(restored / "files", site.source)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone"])
async def test_all_is_read_back_within_as_many_runs_as_there_are_parts(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    for number in range(12):
        site.write(f"{number}.bin", 50_000)
    site.backup()
    far = kinds(tmp_path)[kind].model_copy(update={"verify_parts": 4})
    await site.done("init", far)
    read = 0
    for _ in range(4):
        assert site.latest.get() is not None
        assert site.record().covered_at == 0
        job = await site.done("run", far)
        assert job.status.state is JobState.SUCCEEDED, job.status.error
        read += int(str(job.status.result["verified"]))
    assert site.record().covered_at > 0
    if kind == "rclone":
        assert read == 16  # each file once: 12, 2 and the two lists of the snapshot


def make_key(path: Path) -> None:
    """Make a key for ssh at ``path``."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ["restic", "rclone"])
async def test_over_sftp_by_the_real_ssh_and_rclone_s_own(
    site: OffsiteSite, tmp_path: Path, kind: str
) -> None:
    if not is_installed("ssh-keygen"):
        pytest.fail("no ssh here: apt-get install openssh-client")
    there, key = tmp_path / "there", tmp_path / "key"
    there.mkdir()
    make_key(key)
    with served("sftp", "--authorized-keys", f"{key}.pub", folder=there) as (port, _):
        if kind == "restic":
            ssh = tmp_path / "ssh.sh"
            ssh.write_text(
                f"ssh -p {port} -i {key} -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null "
                "-o LogLevel=ERROR -o BatchMode=yes -F none user@127.0.0.1 -s sftp\n"
                "exit 0  # rclone's server gives ssh no exit status of the session, a real sshd does\n"
            )
            options = ("-o", f"sftp.command=sh {ssh}")
            far = restic_at("sftp:user@127.0.0.1:repository", options=options)
        else:
            config = rclone_config(
                tmp_path / "rclone.conf",
                net={
                    "type": "sftp",
                    "host": "127.0.0.1",
                    "port": str(port),
                    "user": "user",
                    "key_file": str(key),
                    "shell_type": "none",
                },
            )
            far = rclone_at("net:models", config)
        for act in ("init", "run"):
            job = await site.done(act, far)
            assert job.status.state is JobState.SUCCEEDED, job.status.error
        back = await site.done("restore", far, to=str(tmp_path / "restored"))
        assert back.status.result.get("proven") is True, back.status.error
        assert equal_trees(tmp_path / "restored/files", site.source)
