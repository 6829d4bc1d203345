"""The plugin in a pytest of its own: with a target, and without."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import anyio.to_thread
import pytest

from tests.fakes.inference import InferenceServer
from tests.unit.components.bench.accept.test_command import CRITERIA, PROFILE, criteria, profile, served
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[5]
PLUGIN = "aiidpd.components.bench.accept.pytest_plugin"


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in ``folder`` with our plugin alone, be it installed or not."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", "-v", *arguments],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=4 * PATIENCE,
        check=False,
    )


async def against(server: InferenceServer, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    given = (f"--aiidpd-target={server.url}", *arguments)
    return await anyio.to_thread.run_sync(lambda: pytest_in(folder, *given))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a test that is none of ours."""
    found = tmp_path / "project"
    found.mkdir()
    (found / "test_other.py").write_text("def test_other(): pass\n")
    return found


async def test_each_criterion_is_a_test(folder: Path, tmp_path: Path):
    text = PROFILE + criteria(**{name: CRITERIA[name] for name in ("first", "speed", "errors")})
    text += "[[criteria]]\nname = 'other'\nfigure = 'ttft_p50'\nbelow = '1 ms'\nengine = 'sglang'\n"
    text += "[[criteria]]\nname = 'quick'\nfigure = 'ttft_p50'\nbelow = '1 ms'\n"
    async with served() as server:
        ran = await against(
            server, folder, f"--aiidpd-profile={profile(tmp_path, text)}", f"--junitxml={tmp_path}/j.xml"
        )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "3 passed, 1 skipped" in ran.stdout.replace("1 failed, ", "")
    assert "collected 5 items" in ran.stdout
    assert "failed: ttft_p50 < 1 ms, found" in ran.stdout
    assert "test_other" not in ran.stdout
    assert "Traceback" not in ran.stdout
    assert 'classname="aiidpd" name="quick"' in (tmp_path / "j.xml").read_text()


async def test_k_chooses_criteria_and_a_named_file_runs_beside_them(folder: Path, tmp_path: Path):
    async with served() as server:
        given = f"--aiidpd-profile={profile(tmp_path)}"
        chosen = await against(server, folder, given, "-k", "speed")
        assert "1 passed, 4 deselected" in chosen.stdout, chosen.stdout + chosen.stderr
        named = await against(server, folder, given, "test_other.py")
    assert "6 passed" in named.stdout, named.stdout + named.stderr


async def test_what_physics_forbids_is_impossible(folder: Path, tmp_path: Path):
    text = PROFILE + criteria(speed=("tokens_per_second", 'above = "100 tok/s"'))
    machine = ("--aiidpd-weights=2GB", "--aiidpd-bandwidth=180GB/s")
    async with served() as server:
        ran = await against(server, folder, f"--aiidpd-profile={profile(tmp_path, text)}", *machine)
    assert ran.returncode == 1
    assert "impossible: tokens_per_second > 100 tok/s" in ran.stdout


def test_without_a_target_nothing_of_ours_is_imported(folder: Path):
    (folder / "test_other.py").write_text(
        "import sys\n\ndef test_other():\n"
        "    ours = sorted(name for name in sys.modules if name.startswith('aiidpd') and '.' in name)\n"
        f"    names = '{PLUGIN}'.split('.')\n"
        "    assert ours == ['.'.join(names[:end]) for end in range(2, len(names) + 1)]\n"
    )
    ran = pytest_in(folder)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 passed" in ran.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--aiidpd-profile=absent.toml",), "no such file"),
        (("--aiidpd-weights=4",), "no size with its unit"),
        (("--aiidpd-bandwidth=4GB",), "no rate with its unit"),
    ],
)
def test_what_can_t_be_tried_is_a_usage_error(folder: Path, arguments: tuple[str, ...], reason: str):
    ran = pytest_in(folder, "--aiidpd-target=http://127.0.0.1:1", *arguments)
    assert ran.returncode == 4
    assert reason in ran.stderr


def test_several_processes_would_measure_each_other(folder: Path):
    ran = pytest_in(folder, "-p", "xdist", "-n", "2", "--aiidpd-target=http://127.0.0.1:1")
    assert ran.returncode == 4
    assert "leave out -n" in ran.stderr


def test_a_target_that_is_no_url_is_a_usage_error(folder: Path):
    ran = pytest_in(folder, "--aiidpd-target=ftp://x")
    assert ran.returncode == 4
    assert "no http or https URL" in ran.stdout + ran.stderr


def test_pytest_finds_the_plugin_by_its_entry_point():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"aiidpd": PLUGIN}
