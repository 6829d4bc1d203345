"""Configuration that the demo writes: an ordinary one, so that all else is the real daemon."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from aiidpd.config.toml import printable, render
from aiidpd.demo.find import Found

MODELS = "SIMULATED-models"  # its name shows wherever the backup does
_HEAD = """\
# Written by `aiidpd demo` at each start, from what it found on this machine.
# To keep a change, put it into a file in conf.d/ beside this one, or into the environment.
"""


def demo_settings(found: Found, folder: Path) -> str:
    """Return the TOML text for the daemon in ``folder`` (absolute)."""
    daemon = {
        "state_directory": folder / "state",
        "runtime_directory": folder / "run",
    }
    endpoint = (
        {"name": "local", "url": found.served.url, "model": found.served.model}
        if found.served
        else {"name": "SIMULATED", "kind": "simulated"}
    )
    return _HEAD + "\n".join(
        (
            _table("daemon", daemon),
            _table("gpu", {"library": "simulated"}, found.no_gpu) if found.no_gpu else "",
            _table("containers", {"socket": found.docker})
            if found.docker
            else _table("containers", {"engine": "simulated"}, found.no_docker),
            _table("backup", {"source": folder / MODELS, "target": folder / "backup"}),
            _table("bench", {"interval": "60s"}),
            _table("[bench.endpoints]", endpoint, found.no_endpoint),
            _table("telemetry", {"listen": f"127.0.0.1:{found.metrics_port}"}),
            _table("control", {"group": ""}),
        )
    )


def _table(name: str, keys: Mapping[str, object], why: str = "") -> str:
    """Return one table; ``why`` is what is missing, so that it is simulated."""
    lines = [f"[{name}]"]
    if why:
        lines.append(f"# {printable(' '.join(why.split()))}")
    lines += [
        f"{key} = {render(str(value) if isinstance(value, Path) else value)}" for key, value in keys.items()
    ]
    return "\n".join(lines) + "\n"
