"""Write docs/metrics.md (``python -m tests.metrics_page``).

From what a daemon with every part simulated serves, and from the families that the source names in full:
some of them have a series only where something is wrong.
"""

from __future__ import annotations

import ast
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiidpd.components.thermal.figures import FAMILIES, Kind
from tests.daemon import running

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "aiidpd"
PAGE = ROOT / "docs" / "metrics.md"
# One of each worker that only a finished piece of its work gives.
COMPLETE = (
    "aiidpd_gpu_temperature_celsius",
    "aiidpd_container_state",
    "aiidpd_backup_last_success_timestamp_seconds",
    "aiidpd_bench_output_tokens_per_second",
    "aiidpd_gpu_energy_joules_total",
    "aiidpd_bench_engine_generated_tokens_total",
    "aiidpd_models_found",
    "aiidpd_audit_findings",
)
HEAD = """\
# Metrics

Served on `metrics.sock` and on `telemetry.listen`, as text or OpenMetrics. Units are base units and stand in
the names. What is not known has no series: a card that lacks a sensor, a reading that is too old, an endpoint
that was not measured. `aiidpd_worker_up` and `aiidpd_worker_last_success_timestamp_seconds` then say why.
A label's value longer than 256 bytes is cut and a control character in it replaced; such a value ends with an
ellipsis and a digest of the whole.

Written by `python -m tests.metrics_page`; a test compares it with a running daemon.
"""
ROOMS = {
    "worker": "Workers",
    "gpu": "GPUs",
    "container": "Containers",
    "backup": "Backups",
    "models": "Models",
    "model": "Models",
    "bench": "Inference",
    "audit": "Audit",
    "alert": "Alerts",
}
REST = "The daemon itself"


@dataclass
class Family:
    """One metric family: its labels are those of any of its series."""

    name: str
    kind: str
    text: str
    labels: set[str] = field(default_factory=set)

    @property
    def room(self) -> str:
        """The heading that it stands under."""
        return ROOMS.get(self.name.split("_")[1], REST)


def families(exposition: str) -> dict[str, Family]:
    """Return the families of a page in the text format, by name."""
    found: dict[str, Family] = {}
    helps: dict[str, str] = {}
    for line in exposition.splitlines():
        if line.startswith("# HELP "):
            _, _, name, text = line.split(" ", 3)
            helps[name] = text
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            found[name] = Family(name, kind, helps[name])
        elif match := re.match(r"(\w+)(?:\{(.*)\})? ", line):
            found[match[1]].labels.update(re.findall(r'(\w+)="', match[2] or ""))
    return found


def page(found: dict[str, Family]) -> str:
    """Return the document."""
    parts = [HEAD]
    top = "| metric | type | labels | what it is |\n| --- | --- | --- | --- |"
    for room in (*dict.fromkeys(ROOMS.values()), REST):
        rows = [
            f"| `{one.name}` | {one.kind} | {', '.join(sorted(one.labels))} | {one.text} |"
            for one in sorted(found.values(), key=lambda one: one.name)
            if one.room == room
        ]
        parts.append("\n".join([f"## {room}", "", top, *rows, ""]))
    return "\n".join(parts)


def named() -> dict[str, Family]:
    """Return the families whose name the source writes out or the table of figures has, by name."""
    found: dict[str, Family] = {}
    for metric, *_ in FAMILIES.values():
        if metric.kind is not Kind.INFO:
            name = f"aiidpd_gpu_{metric.name}" + ("_total" if metric.kind is Kind.COUNTER else "")
            found[name] = Family(name, metric.kind.value, metric.help, set(metric.labels))
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text())
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and (family := _family(node, constants)):
                found[family.name] = family
    return found


def _family(call: ast.Call, constants: dict[str, ast.expr]) -> Family | None:
    kind = getattr(call.func, "id", "").removesuffix("Family").lower()
    texts = [arg.value for arg in call.args if isinstance(arg, ast.Constant)][:2]
    if kind not in ("gauge", "counter") or len(texts) != 2 or not str(texts[0]).startswith("aiidpd_"):
        return None
    name, text = map(str, texts)
    family = Family(f"{name}_total" if kind == "counter" else name, kind, text)
    for keyword in call.keywords:
        if keyword.arg == "labels":
            value = keyword.value
            value = constants.get(value.id, value) if isinstance(value, ast.Name) else value
            family.labels = set(_strings(value, constants))
    return family


def _strings(value: ast.expr, constants: dict[str, ast.expr]) -> Iterator[str]:
    """Yield the strings of a tuple or list, and of the tuples that ``*NAME`` puts into it."""
    for one in getattr(value, "elts", ()):
        if isinstance(one, ast.Constant):
            yield str(one.value)
        elif isinstance(one, ast.Starred) and isinstance(one.value, ast.Name):
            yield from _strings(constants[one.value.id], constants)


def exposition() -> str:
    """Return what a simulated daemon serves when each worker has finished a piece of its work."""
    with tempfile.TemporaryDirectory() as scratch, running(Path(scratch)) as daemon:
        return daemon.wait_for(*COMPLETE)


if __name__ == "__main__":
    known = families(exposition())
    for name, family in named().items():
        known.setdefault(name, family).labels.update(family.labels)
    PAGE.write_text(page(known))
