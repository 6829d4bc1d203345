from __future__ import annotations

import os
import pwd
from pathlib import Path, PurePosixPath

from aiidpd.contracts.checks import Outcome
from aiidpd.daemon.checks.surroundings import own, surroundings
from aiidpd.daemon.checks.unit import unit

ROOT = Path(__file__).parents[4]
ME = pwd.getpwuid(os.geteuid()).pw_name


def installed(folder: Path, drop_in: str = "", text: str = "") -> Path:
    (folder / "aiidpd.service.d").mkdir(parents=True)
    shipped = (ROOT / "packaging/systemd/aiidpd.service").read_text().replace("User=aiidpd", f"User={ME}")
    shipped = shipped.replace("SupplementaryGroups=docker video aiidpd-metrics", "")
    (folder / "aiidpd.service").write_text((text or shipped).replace("\nGroup=aiidpd", "\n"))
    if drop_in:
        (folder / "aiidpd.service.d" / "local.conf").write_text(f"[Service]\n{drop_in}\n")
    return folder


def test_without_a_unit_they_are_those_of_whoever_calls(tmp_path: Path):
    around, problems = surroundings("aiidpd.service", (tmp_path,))
    assert (around, problems) == (own(), [])
    assert (around.uid, around.sandbox, around.unit) == (os.geteuid(), None, "")


def test_the_shipped_unit_hides_homes_and_lets_its_own_folders_be_written(tmp_path: Path):
    around, problems = surroundings("aiidpd.service", (installed(tmp_path),))
    assert problems == []
    assert around.sandbox is not None
    assert not around.sandbox.shows(PurePosixPath("/home/alice/models"))
    assert not around.sandbox.may_write(PurePosixPath("/mnt/backup/models"))
    assert around.sandbox.may_write(PurePosixPath("/var/lib/aiidpd/backup"))
    assert around.sandbox.shows(PurePosixPath("/srv/models"))


def test_drop_ins_as_the_unit_describes_them_open_it(tmp_path: Path):
    drop_in = "BindReadOnlyPaths=/home/alice/models\nReadWritePaths=-/mnt/backup/models/"
    around, _ = surroundings("aiidpd.service", (installed(tmp_path, drop_in),))
    assert around.sandbox is not None
    assert around.sandbox.shows(PurePosixPath("/home/alice/models/llama"))
    assert not around.sandbox.may_write(PurePosixPath("/home/alice/models"))
    assert around.sandbox.may_write(PurePosixPath("/mnt/backup/models"))
    assert not around.sandbox.shows(PurePosixPath("/home/alice"))


def test_a_bound_folder_stands_where_it_is_mounted(tmp_path: Path):
    around, _ = surroundings("aiidpd.service", (installed(tmp_path, "BindPaths=/data:/home/bob/x:rbind"),))
    assert around.sandbox is not None
    assert around.sandbox.may_write(PurePosixPath("/home/bob/x"))
    assert not around.sandbox.may_write(PurePosixPath("/data"))


def test_users_and_groups_that_do_not_exist_are_named(tmp_path: Path):
    text = "[Service]\nUser=nobody-of-this-name\nSupplementaryGroups=no-such-group root\n"
    around, problems = surroundings("aiidpd.service", (installed(tmp_path, text=text),))
    assert [result.outcome for _, result in problems] == [Outcome.FAILED] * 2
    assert "nobody-of-this-name" in problems[0][1].found
    assert "no-such-group" in problems[1][1].found
    assert 0 in around.groups


def test_the_check_of_the_unit(tmp_path: Path):
    assert [each.outcome for each in unit(own())] == [Outcome.OK]
    around, _ = surroundings("aiidpd.service", (installed(tmp_path / "a"),))
    found = [each for each in unit(around) if "/opt/aiidpd/bin/aiidpd" in each.found]
    assert [each.outcome for each in found] == ([] if Path("/opt/aiidpd").exists() else [Outcome.FAILED])
    lax = (
        "[Service]\nExecStart=-/bin/sh -c 'true'\nDevicePolicy=closed\nDeviceAllow=char-nvidia-frontend rw\n"
    )
    around, _ = surroundings("aiidpd.service", (installed(tmp_path / "b", text=lax),))
    told = [(each.outcome, each.found) for each in unit(around)]
    assert any("ProtectSystem" in found for _, found in told)
    assert any("hides the GPUs" in found for _, found in told)
    assert any(outcome is Outcome.OK and "runs it as root" in found for outcome, found in told)
