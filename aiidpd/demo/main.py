"""``aiidpd demo``: find what there is, write a configuration, run the daemon, draw its state."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import anyio

from aiidpd.daemon.app import CONTROL, serve
from aiidpd.demo.find import METRICS_PORT, Found, find
from aiidpd.demo.model_folder import make_model_folder
from aiidpd.demo.screen import Screen
from aiidpd.demo.settings import MODELS, demo_settings
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.atomic import write_atomic


def demo(directory: Path) -> None:
    """Run the daemon with everything under ``directory`` until SIGINT or SIGTERM.

    On a terminal the screen shows the live state, and the log goes to a file; elsewhere both are printed.
    """
    folder = directory.absolute()
    try:
        for name in ("state", "run", MODELS, "backup"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        make_model_folder(folder / MODELS)
        found = anyio.run(find)
        config = folder / "aiidpd.toml"
        write_atomic(config, demo_settings(found, folder).encode())
    except OSError as error:
        remedy = "name a folder that you can write to with --directory"
        raise Misconfigured("prepare", str(folder), reason=str(error), remedy=remedy) from error
    metrics = metrics_at(found.metrics_port, os.environ)
    _introduce(found, folder, metrics)
    with ExitStack() as stack:
        log = None
        if sys.stdout.isatty():
            log = stack.enter_context((folder / "aiidpd.log").open("a", encoding="utf-8"))
        stack.enter_context(Screen(folder / "run" / CONTROL, sys.stdout, metrics))
        serve(config, os.environ, log)
    print(f"aiidpd: stopped; what it kept is in {directory}", file=sys.stderr)


def metrics_at(port: int, environ: Mapping[str, str]) -> str:
    """Return a line on where a Prometheus finds the metrics, and why there."""
    listen = environ.get("AIIDPD_TELEMETRY__LISTEN")
    if listen is not None:
        return f"metrics: {listen or 'on no TCP port'} (AIIDPD_TELEMETRY__LISTEN)"
    why = "" if port == METRICS_PORT else f" (port {METRICS_PORT} is taken by another program)"
    return f"metrics: http://127.0.0.1:{port}/metrics{why}"


def _introduce(found: Found, folder: Path, metrics: str) -> None:
    parts = (
        ("GPUs", found.no_gpu, "NVML"),
        ("containers", found.no_docker, f"the Docker Engine at {found.docker}"),
        ("inference", found.no_endpoint, found.served and f"{found.served.model} at {found.served.url}"),
    )
    for part, missing, real in parts:
        print(f"aiidpd: {part}: {f'SIMULATED ({missing})' if missing else real}", file=sys.stderr)
    print(f"aiidpd: {metrics}", file=sys.stderr)
    if "AIIDPD_BACKUP__SOURCE" not in os.environ:
        remedy = "AIIDPD_BACKUP__SOURCE names one of yours"
        print(f"aiidpd: models: SIMULATED (a small folder, {folder / MODELS}; {remedy})", file=sys.stderr)
