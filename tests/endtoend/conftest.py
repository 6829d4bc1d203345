"""The whole machines that the end-to-end tests run on."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.endtoend import packages
from tests.endtoend.containers import ROOT, Machine, debian, image, machine
from tests.waiting import PATIENCE

BOOTS = [
    "--stop-signal=SIGRTMIN+3",
    "--cap-add=SYS_ADMIN",
    "--security-opt=seccomp=unconfined",
    "--security-opt=apparmor=unconfined",
    "--tmpfs=/run",
    "--tmpfs=/run/lock",
    "--tmpfs=/tmp",
    "--volume=/sys/fs/cgroup:/sys/fs/cgroup:rw",
    "--cgroupns=host",
]


@pytest.fixture(scope="session")
def engine(missing: Callable[[str, str], None]) -> None:
    """Make sure that a Docker Engine answers."""
    try:
        done = subprocess.run(
            ["docker", "info"], check=False, capture_output=True, text=True, timeout=PATIENCE
        )
    except FileNotFoundError:
        missing("Docker", "apt-get install docker.io")
    else:
        if done.returncode != 0:
            missing("Docker Engine", "start dockerd, or join the group docker")


def debian_root(kind: str, missing: Callable[[str, str], None]) -> Path:
    tar, why = debian(kind)
    if tar is None:
        missing(f"Debian root for {kind}", why)
    assert tar is not None
    return tar


@pytest.fixture(scope="session")
def wheels(missing: Callable[[str, str], None]) -> Path:
    """Return a folder with a wheel of all that the daemon runs on, so that a machine needs no network."""
    locks = [ROOT / "packaging" / "requirements" / f"{name}.txt" for name in ("build", "runtime")]
    locked = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:12]
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aiidpd-ci"
    folder = Path(os.environ.get("AIIDPD_CI_CACHE") or base) / f"wheels-{locked}"
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="wheels.") as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--require-hashes",
            "--no-build-isolation",
        ]
        command += [f"--requirement={lock}" for lock in locks] + [f"--wheel-dir={scratch}/new"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            missing("package registry", done.stderr.strip().splitlines()[-1])
        Path(scratch, "new").rename(folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the wheel of this tree: what is installed is what is tested."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, f"--wheel-dir={folder}", str(ROOT)], check=True, capture_output=True)
    return next(folder.glob("aiidpd-*.whl"))


@pytest.fixture(scope="session")
def package(
    wheels: Path, tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], None]
) -> Path:
    """Return the Debian package of this tree."""
    return packages.built(packages.tools(missing), wheels, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="session")
def booted(
    engine: None,  # noqa: ARG001 -- it must be there, and that is all
    wheels: Path,
    wheel: Path,
    missing: Callable[[str, str], None],
) -> Iterator[Machine]:
    """Boot a Debian with systemd, and install the package in it as docs/operations.md says."""
    tar = debian_root("systemd", missing)
    name = "aiidpd-test-systemd"
    with image(name, tar) as root, boot(name, root, f"--volume={wheels}:/srv/wheels:ro") as booting:
        install(booting, wheel)
        yield booting


@contextmanager
def boot(name: str, root: str, *options: str) -> Iterator[Machine]:
    """Boot a Debian with systemd for as long as the block lasts."""
    with machine(name, root, [*BOOTS, *options], ["/sbin/init"]) as booting:
        state = ["systemctl", "is-system-running"]
        booting.until(
            lambda: booting.run(*state, check=False).stdout.strip() == "running", "boot", 2 * PATIENCE
        )
        yield booting


def install(on: Machine, wheel: Path) -> None:
    """Install the package, its unit, its account and its folders."""
    on.copy(wheel, "/srv")
    on.copy(ROOT / "packaging", "/srv")
    on.shell("python3 -m venv /opt/aiidpd")
    on.shell(f"/opt/aiidpd/bin/pip install --quiet --no-index --no-deps /srv/wheels/*.whl /srv/{wheel.name}")
    on.shell("""
        install -m 644 /srv/packaging/systemd/aiidpd.service /usr/lib/systemd/system/
        install -m 644 /srv/packaging/sysusers.d/aiidpd.conf /usr/lib/sysusers.d/
        install -m 644 /srv/packaging/tmpfiles.d/aiidpd.conf /usr/lib/tmpfiles.d/
        systemd-sysusers
        systemd-tmpfiles --create aiidpd.conf
        systemctl daemon-reload
        useradd --groups aiidpd member
        useradd stranger
    """)
