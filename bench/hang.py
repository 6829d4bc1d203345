"""From a hang to its verdict and its end: a real llama-server in a container, stopped while it generates.

It needs the real Docker Engine and llama-server; ``.ci/llama`` prints a path for AIIDPD_LLAMA_SERVER.
The whole daemon watches with its defaults; the times are those of its events.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from aiidpd.api.client import ControlClient
from bench.harness import Subject, daemon, report
from tests.fakes import llama
from tests.fakes.docker_engine import SOCKET, real_docker
from tests.fakes.llama_container import LlamaContainer, LlamaContainers

ROUNDS = 5
WITHIN = 120.0  # seconds
VERDICT_LIMIT = 30.0  # seconds
CONFIG = f"""\
[gpu]
library = "off"
[containers]
engine = "docker"
socket = "{SOCKET}"
[containers.heal]
cooldown = "0s"
[[containers.heal.rules]]
container = "{{name}}"
mode = "restart"
budget = "50/1h"
grace = "30s"
"""


def main() -> None:
    """Print how long a hang lasts until it is found, and until the server is started anew."""
    server = llama.find_server()
    if server is None:
        _missing("llama-server", llama.HOW_TO_GET)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with (
        tempfile.TemporaryDirectory(prefix="aiidpd-bench-models-") as models,
        real_docker(_missing) as docker,
    ):
        one = LlamaContainers(docker, Path(models), server).run("hang")
        with daemon(CONFIG.format(name=one.name)) as subject:
            found = [_round(subject, one) for _ in range(rounds)]
    figures: dict[str, tuple[float, float | None]] = {}
    for place, label in enumerate(
        ("hang to verdict", "verdict to evidence", "verdict to heal", "hang to new start")
    ):
        ordered = sorted(each[place] for each in found)
        limit = VERDICT_LIMIT if not place else None
        figures[f"{label}, median"] = ordered[len(ordered) // 2], None
        figures[f"{label}, worst"] = ordered[-1], limit
    report("hang", "s", figures)


def _round(subject: Subject, one: LlamaContainer) -> tuple[float, float, float, float]:
    """Stop the server while it generates; return the seconds to each thing that follows."""
    _until(lambda: _verdict(subject, one.name) == "idle")
    _generate(one)
    _until(lambda: _verdict(subject, one.name) == "working")
    time.sleep(5.0)
    one.hang()
    hung = time.time()
    kinds = ("engine.hung", "container.heal_evidence", "container.heal_began", "container.started")
    times = [_until(lambda kind=kind: _since(subject, kind, one.name, hung)) for kind in kinds]
    return times[0] - hung, times[1] - times[0], times[2] - times[0], times[3] - hung


def _generate(one: LlamaContainer) -> None:
    """Have somebody generate again and again, until the server no longer answers."""
    body = json.dumps({"prompt": "a", "n_predict": 100_000, "ignore_eos": True}).encode()
    request = urllib.request.Request(f"{one.url}/completion", body, {"Content-Type": "application/json"})

    def work() -> None:
        with suppress(OSError):
            while True:
                with urllib.request.urlopen(request, timeout=WITHIN) as response:
                    response.read()

    threading.Thread(target=work, daemon=True).start()


def _verdict(subject: Subject, name: str) -> str:
    with ControlClient(str(subject.control)) as client:
        engines = client.get("/v1/engines")["engines"]
    return next((str(each["verdict"]) for each in engines if each["name"] == name), "")


def _since(subject: Subject, kind: str, name: str, since: float) -> float:
    """Return the time of the first event of ``kind`` about ``name`` after ``since``, 0 where none came."""
    with ControlClient(str(subject.control)) as client:
        events: list[dict[str, Any]] = client.get("/v1/events", kind=kind, since=since, limit=100)["events"]
    return min((float(each["time"]) for each in events if each["subject"] == name), default=0.0)


def _until(read: Any) -> Any:
    deadline = time.monotonic() + WITHIN
    while not (found := read()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"it did not come about in {WITHIN:g} s")
        time.sleep(0.1)
    return found


def _missing(part: str, how: str) -> NoReturn:
    raise SystemExit(f"no {part} here: {how}")


if __name__ == "__main__":
    main()
