"""A daemon that guards upgrades of a made-up engine in a real container, and its commands."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Final

from tests.daemon import Daemon
from tests.fakes.docker_engine import RealDocker
from tests.waiting import PATIENCE, until

PROFILE: Final = """
name = "short"
[requests]
warm_up = 0
count = 2
prompt = "64 tokens"
answer = "16 tokens"
[concurrency]
streams = 2
answer = "16 tokens"
[[criteria]]
name = "errors"
figure = "error_rate"
at_most = "1 %"
"""
LABELS: Final = ("--label", "aiidpd.engine=vllm", "--label", "aiidpd.engine.port=8000")


def settings(docker: RealDocker, **more: str) -> dict[str, str]:
    """Return the environment of such a daemon."""
    return {
        "AIIDPD_CONTAINERS__ENGINE": "docker",
        "AIIDPD_CONTAINERS__SOCKET": str(docker.socket),
        "AIIDPD_CONTAINERS__RECONCILE_INTERVAL": "1s",
        "AIIDPD_CONTAINERS__HEAL__STOP_GRACE": "1s",
        "AIIDPD_CONTAINERS__HEAL__DRY_RUN": "true",  # other tests heal on this engine
        "AIIDPD_ENGINES__INTERVAL": "500ms",
        "AIIDPD_BENCH__INTERVAL": "1h",
        "AIIDPD_BACKUP__SCHEDULE": "yearly",
        **more,
    }


def ctl(daemon: Daemon, *arguments: str, patience: float = 4 * PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run ``aiidpctl`` to its end."""
    command = [sys.executable, "-m", "aiidpd.cli.main", "--socket", str(daemon.folder / "run/control.sock")]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, timeout=patience, check=False
    )


def document(daemon: Daemon, *arguments: str) -> Any:
    """Return the document that a command shows."""
    done = ctl(daemon, *arguments, "--json")
    return json.loads(done.stdout) if done.stdout else {}


def known(daemon: Daemon, name: str) -> None:
    """Wait until the engine in a container is known, and its figures are."""

    def holds() -> bool:
        rows = document(daemon, "engines").get("engines", ())
        return any(each["name"] == name and each.get("requests_running") is not None for each in rows)

    until(holds, why=lambda: (daemon.folder / "log").read_text()[-3000:])


def guarded(daemon: Daemon, image: str, name: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Have an image tried to its end, in little time."""
    profile = daemon.folder / "short.toml"
    profile.write_text(PROFILE)
    short = (
        "--apply",
        "--profile",
        str(profile),
        "--settle",
        "1s",
        "--ready",
        "20s",
        "--drain",
        "60s",
        "--pairs",
        "12",
    )
    return ctl(daemon, "bench", "guard", image, "--for", name, *short, *options)


def newest(daemon: Daemon) -> dict[str, Any]:
    """Return the evidence of the newest upgrade."""
    last = document(daemon, "bench", "upgrades")["upgrades"][-1]["id"]
    found: dict[str, Any] = document(daemon, "bench", "upgrades", last)
    return found
