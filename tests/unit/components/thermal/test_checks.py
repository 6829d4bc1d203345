from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.thermal.checks import DriverVersions, cards, checks, devices, driver, versions, visible
from aiidpd.components.thermal.faults import GpuFault
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.settings import GpuSettings
from aiidpd.contracts.checks import Check, Outcome, Surroundings
from aiidpd.daemon.doctor import run
from aiidpd.kernel.errors import NotInstalled, Unavailable
from tests.fakes.nvml import FakeNvml
from tests.tables import made

OLD, NEW = "580.65.06", "580.95.05"
ME = Surroundings(1000, frozenset({44}), "aiidpd")


def told(found: DriverVersions, there: int = 1) -> list[tuple[Outcome, str]]:
    return [(each.outcome, each.found) for each in driver(found, there)]


def test_one_version_everywhere_is_well():
    [(outcome, found)] = told(DriverVersions(NEW, NEW, NEW, (NEW,)))
    assert (outcome, NEW in found) == (Outcome.OK, True)


def test_no_driver_matters_only_where_there_is_a_card():
    assert [outcome for outcome, _ in told(DriverVersions(), 0)] == [Outcome.OK]
    assert [outcome for outcome, _ in told(DriverVersions(), 2)] == [Outcome.FAILED]


def test_a_driver_upgraded_under_a_daemon_that_runs_breaks_at_the_next_restart():
    [(outcome, found)] = told(DriverVersions(loaded=OLD, installed=NEW, library=NEW, in_use=(OLD,)))
    assert outcome is Outcome.FAILED
    assert "what runs goes on with the old one" in found
    assert "whatever starts next" in found


def test_a_module_on_the_disk_that_does_not_fit_breaks_at_the_next_boot():
    found = told(DriverVersions(loaded=OLD, installed=NEW, library=OLD, in_use=(OLD,)))
    assert [outcome for outcome, _ in found] == [Outcome.OK, Outcome.FAILED]
    assert "the next boot loads" in found[1][1]


def test_processes_with_an_old_library_are_to_be_restarted():
    found = told(DriverVersions(NEW, NEW, NEW, (OLD, NEW)))
    assert [outcome for outcome, _ in found] == [Outcome.OK, Outcome.WARNING]
    assert OLD in found[1][1]


def test_parts_that_are_missing():
    assert "not loaded" in told(DriverVersions(library=NEW))[0][1]
    assert "not installed" in told(DriverVersions(loaded=NEW))[0][1]


VERSION = st.sampled_from(["", OLD, NEW])


@given(
    loaded=VERSION,
    installed=VERSION,
    library=VERSION,
    used=st.sets(st.sampled_from([OLD, NEW])),
    there=st.integers(0, 2),
)
def test_all_is_well_only_where_the_next_process_and_the_next_boot_find_gpus(
    loaded: str, installed: str, library: str, used: set[str], there: int
):
    found = list(driver(DriverVersions(loaded, installed, library, tuple(sorted(used))), there))
    assert found
    for each in found:
        assert each.cure or each.outcome is Outcome.OK
    well = all(each.outcome is not Outcome.FAILED for each in found)
    none = not loaded and not library and not there
    assert well == (none or (bool(loaded) and loaded == library and installed in ("", library)))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    library = tmp_path / "usr/lib/x86_64-linux-gnu"
    library.mkdir(parents=True)
    (library / f"libnvidia-ml.so.{NEW}").touch()
    (library / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{NEW}")
    for name, text in (
        (
            "proc/driver/nvidia/version",
            f"NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {OLD}  Release Build\n",
        ),
        (
            "proc/12/maps",
            f"7f00-7f01 r-xp 0 00:1 1 /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.{OLD} (deleted)\n",
        ),
        ("proc/13/maps", "7f00-7f01 r-xp 0 00:1 1 /usr/lib/libc.so.6\n"),
        ("sys/bus/pci/devices/0000:01:00.0/vendor", "0x10de\n"),
        ("sys/bus/pci/devices/0000:01:00.0/class", "0x030200\n"),
        ("sys/bus/pci/devices/0000:01:00.1/vendor", "0x10de\n"),
        ("sys/bus/pci/devices/0000:01:00.1/class", "0x040300\n"),
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_versions_and_cards_are_read_from_the_machine(root: Path):
    assert versions(root, lambda: NEW) == DriverVersions(OLD, NEW, NEW, (OLD,))
    assert cards(root) == 1
    (root / "sys/module/nvidia").mkdir(parents=True)
    (root / "sys/module/nvidia/version").write_text("550.54.14\n")
    assert versions(root, str).loaded == "550.54.14"


def test_a_machine_without_anything_has_no_versions(tmp_path: Path):
    assert versions(tmp_path, str) == DriverVersions()
    assert cards(tmp_path) == 0
    assert list(devices(ME, tmp_path)) == []


def test_devices_that_the_daemons_user_may_not_open(root: Path):
    [missing] = devices(ME, root)
    assert "/dev/nvidiactl does not exist" in missing.found
    (root / "dev").mkdir()
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (root / "dev" / name).touch()
        (root / "dev" / name).chmod(0o600)
    around = Surroundings(os.geteuid() + 1, frozenset(), "other")
    [closed] = devices(around, root)
    assert "/dev/nvidia0, /dev/nvidiactl" in closed.found
    for name in ("nvidia0", "nvidiactl"):
        (root / "dev" / name).chmod(0o666)
    assert [each.outcome for each in devices(around, root)] == [Outcome.OK]


def test_what_a_fresh_process_sees():
    def fail(error: Exception) -> GpuSnapshot:
        raise error

    gone = NotInstalled("read", "GPUs", reason="there is no driver", remedy="install it")
    if not cards(Path("/")):
        assert [each.outcome for each in visible(lambda: fail(gone))] == [Outcome.OK]
    assert [each.outcome for each in visible(lambda: fail(gone), needed=True)] == [Outcome.FAILED]
    stuck = Unavailable("read", "GPUs", reason="it hangs", remedy="reboot")
    [found] = visible(lambda: fail(stuck))
    assert (found.outcome, found.cure) == (Outcome.FAILED, "reboot")
    lost = GpuSnapshot(
        (), NEW, simulated=False, faults=(GpuFault(0, "nvmlDeviceGetTemperature", 15, "GPU_IS_LOST"),)
    )
    [found] = visible(lambda: lost)
    assert "GPU 0" in found.found
    assert "reset or a reboot" in found.cure


def test_switched_off_or_simulated_nothing_of_the_driver_is_checked():
    for library, outcome in (("off", Outcome.OK), ("simulated", Outcome.WARNING)):
        [check] = checks(made(GpuSettings, library=library), ME)
        assert [each.outcome for each in check.run()] == [outcome]
    names = [each.name for each in checks(made(GpuSettings), ME)]
    assert names == ["gpu-driver", "gpu-devices", "gpu-visible"]


def test_a_gpu_is_seen_through_the_drivers_own_binding(fake_nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch):
    for name, value in fake_nvml.env.items():
        monkeypatch.setenv(name, value)
    [line] = run([Check("gpu-visible", visible, 30.0)])  # in a thread, as the doctor calls it
    assert line.result.outcome is Outcome.OK, line
    assert "shows 1 GPUs: 0: " in line.result.found
