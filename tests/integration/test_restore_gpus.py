"""The command that systemd runs when the daemon has ended, and the daemon whose lease it finds."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from aiidpd.components.thermal.governor.journal import NAME, Baseline, RestoreJournal
from tests.fakes.nvml import FakeNvml, shape, uuid
from tests.waiting import PATIENCE, Stopwatch

SET = "nvmlDeviceSetPowerManagementLimit"
RESTORES_WITHIN = 2.0  # what a daemon has not put back by then it leaves to the command
CONFIG = """\
[daemon]
state_directory = "{folder}/state"
runtime_directory = "{folder}/run"

[gpu]
library = "nvml"

[gpu.governor]
mode = "{governor}"
recovery = "1s"

[containers]
engine = "simulated"

[telemetry]
listen = ""

[control]
group = ""
"""


class Site:
    """A configuration, its folders, and a fake GPU whose limit was 290 W."""

    def __init__(self, folder: Path, fake: FakeNvml) -> None:
        self.folder, self.fake = folder, fake
        (folder / "state").mkdir()
        (folder / "run").mkdir()
        self.config = folder / "aiidpd.toml"
        self.configure("on")
        self.lease = RestoreJournal(folder / "state" / NAME)
        self.install(margin=27)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("AIIDPD_")}
        self.environment = clean | fake.env
        self.daemons: list[subprocess.Popen[bytes]] = []

    def configure(self, governor: str) -> None:
        self.config.write_text(CONFIG.format(folder=self.folder, governor=governor))

    def install(self, margin: int) -> None:
        limits = dict.fromkeys(("power_limit_milliwatts", "field__190", "field__192"), 290_000)
        self.fake.install(shape("rtx_5070_ti", margin=margin, **limits))

    def leave(self, boot: str | None = None) -> None:
        """Leave a GPU behind as a governing daemon would that was killed."""
        self.install(margin=27)
        left = Baseline(0, "card", 290.0, clocks=True)
        RestoreJournal(self.lease.path, boot).write({uuid(0): left})
        set_to = "".join(
            f"0.{name}=250000\n" for name in ("power_limit_milliwatts", "field.190", "field.192")
        )
        (self.folder / "nvml.state.set").write_text(f"{set_to}0.locked_clocks_megahertz=0 600\n")

    def command(self, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "aiidpd", "restore-gpus", "--config", str(self.config), *options]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False, timeout=PATIENCE
        )

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "aiidpd", "run", "--config", str(self.config)]
        with (self.folder / "log").open("ab") as log:
            daemon = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        self.daemons.append(daemon)
        return daemon

    def until(self, done: Callable[[], bool]) -> None:
        waited = Stopwatch()
        while not done():
            assert waited.seconds < PATIENCE, (self.folder / "log").read_text()
            time.sleep(0.02)

    @property
    def watts(self) -> float:
        return float(self.fake.was_set("0.power_limit_milliwatts") or 290_000) / 1000

    @property
    def baseline(self) -> bool:
        clocks = self.fake.was_set("0.locked_clocks_megahertz")
        return self.watts == 290 and not clocks and not self.lease.path.exists()


@pytest.fixture
def site(tmp_path: Path, fake_nvml: FakeNvml) -> Iterator[Site]:
    site = Site(tmp_path, fake_nvml)
    yield site
    for daemon in site.daemons:
        daemon.kill()
        daemon.wait()


def test_without_a_lease_the_driver_is_not_touched(site: Site) -> None:
    site.fake.note_calls()
    site.environment |= site.fake.env
    done = site.command()

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert site.fake.calls() == []


def test_what_a_killed_daemon_left_is_restored(site: Site) -> None:
    site.leave()
    assert not site.baseline
    done = site.command()

    assert (done.returncode, done.stderr) == (0, "aiidpd: GPU 0 (card) is back at its baseline\n")
    assert site.baseline


def test_a_refusal_is_told_and_the_lease_stays(site: Site) -> None:
    site.leave()
    site.fake.set({SET: 4})
    done = site.command()
    assert done.returncode == 1
    assert "cannot restore GPU 0 (card)" in done.stderr
    assert "NO_PERMISSION" in done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
    assert site.lease.path.exists()

    site.fake.set({SET: None})
    assert site.command().returncode == 0
    assert site.baseline


@pytest.mark.parametrize("how", ["hang", "crash"])
def test_a_driver_that_hangs_or_crashes_is_bounded_and_told(site: Site, how: str) -> None:
    site.leave()
    site.fake.set({SET: how})
    since = Stopwatch()
    done = site.command()

    assert since.within(20)
    assert done.returncode == 1
    assert "cannot restore GPU 0" in done.stderr
    assert site.lease.path.exists()


def test_a_lease_from_another_boot_is_void(site: Site) -> None:
    site.leave(boot="another")
    done = site.command()

    assert done.returncode == 0
    assert "booted" in done.stderr
    assert site.watts == 250
    assert not site.lease.path.exists()


def test_a_damaged_lease_is_kept_and_the_way_out_works(site: Site) -> None:
    site.leave()
    site.lease.path.write_text("{")
    done = site.command()
    assert done.returncode == 1
    assert "--to-default" in done.stderr
    assert site.lease.path.read_text() == "{"

    done = site.command("--to-default")
    assert (done.returncode, site.watts) == (0, 300.0)
    assert not site.fake.was_set("0.locked_clocks_megahertz")
    assert not site.lease.path.exists()


def test_after_kill_9_a_broken_configuration_keeps_nothing_from_being_put_back(site: Site) -> None:
    daemon = governed(site)
    daemon.kill()
    daemon.wait()
    site.config.write_text(site.config.read_text() + '[nothing]\nof = "ours"\n')
    assert site.start().wait(PATIENCE) == 2
    assert not site.baseline

    done = site.command()
    assert done.returncode == 0, done.stderr
    assert "nothing" in done.stderr
    assert "is back at its baseline" in done.stderr
    assert site.baseline


@pytest.mark.parametrize("broken", ["[gpu\n", "call_timeout = 1s\n", "\x00", "[[[\n"])
def test_a_file_that_is_no_toml_still_says_where_the_leases_are(site: Site, broken: str) -> None:
    site.leave()
    site.config.write_text(site.config.read_text() + broken)
    done = site.command()

    assert done.returncode == 0, done.stderr
    assert str(site.config) in done.stderr
    assert site.baseline


def test_without_any_configuration_the_state_folder_can_be_named(site: Site) -> None:
    site.leave()
    site.config.unlink()
    done = site.command("--state-directory", str(site.folder / "state"))

    assert done.returncode == 0, done.stderr
    assert "does not exist" in done.stderr
    assert site.baseline


def test_a_broken_configuration_and_nothing_left_behind_is_told_and_no_failure(site: Site) -> None:
    site.config.write_text(site.config.read_text() + "[gpu\n")
    done = site.command()

    assert done.returncode == 0
    assert str(site.config) in done.stderr
    assert "nothing to put back" in done.stderr


def test_what_can_not_be_put_back_is_1_with_a_broken_configuration_too(site: Site) -> None:
    site.leave()
    site.config.write_text("[gpu\n" + site.config.read_text())
    site.fake.set({SET: 4})
    done = site.command()

    assert done.returncode == 1
    assert "cannot restore GPU 0 (card)" in done.stderr
    assert site.lease.path.exists()


def test_beside_a_daemon_that_runs_it_does_nothing(site: Site) -> None:
    site.leave()
    site.fake.set({SET: 999})  # so that the daemon can't restore it first
    site.start()
    site.until((site.folder / "run" / "control.sock").exists)
    done = site.command()

    assert done.returncode == 2
    assert "another aiidpd uses it" in done.stderr


def governed(site: Site) -> subprocess.Popen[bytes]:
    """Return a daemon that has lowered the limit and locked the clocks."""
    site.install(margin=0)
    daemon = site.start()
    site.until(lambda: site.fake.was_set("0.locked_clocks_megahertz") is not None)
    assert site.lease.path.exists()
    return daemon


def test_a_stop_restores(site: Site) -> None:
    daemon = governed(site)
    since = Stopwatch()
    daemon.send_signal(signal.SIGTERM)

    assert daemon.wait(PATIENCE) == 0
    if since.seconds > RESTORES_WITHIN and site.lease.path.exists():  # on a machine that is so slow
        assert site.command().returncode == 0
    assert site.baseline


def test_after_kill_9_the_command_restores(site: Site) -> None:
    daemon = governed(site)
    daemon.kill()
    daemon.wait()
    assert not site.baseline

    assert site.command().returncode == 0
    assert site.baseline


def test_after_kill_9_the_next_start_restores_with_the_governor_off_too(site: Site) -> None:
    daemon = governed(site)
    daemon.kill()
    daemon.wait()
    site.configure("off")
    site.start()

    site.until(lambda: site.baseline)


def test_a_reload_that_turns_it_off_restores(site: Site) -> None:
    daemon = governed(site)
    site.configure("off")
    daemon.send_signal(signal.SIGHUP)

    site.until(lambda: site.baseline)
    assert daemon.poll() is None
