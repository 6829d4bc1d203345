"""Prometheus' own judgement of what is served of each shape of a card, with all that can be known of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import anyio
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from aiidpd.components.thermal.driver.client import NvmlLibrary
from aiidpd.components.thermal.gpu import GpuSnapshot
from aiidpd.components.thermal.metrics import ThermalCollector
from aiidpd.components.thermal.xid import XidEvent, XidLedger
from aiidpd.kernel.clock import SystemClock
from aiidpd.kernel.latest import Latest
from tests.fakes.nvml import FakeNvml, shape

pytestmark = [pytest.mark.real("prometheus")]


async def test_promtool_finds_no_fault_in_what_is_served_of_four_cards(
    fake_nvml: FakeNvml, missing: Callable[[str, str], None]
) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        missing("promtool", "apt-get install prometheus")
    names = ("rtx_3090", "rtx_5070_ti", "h200", "h200_mig")
    processes = {"process__0": "compute 1 1073741824"}
    fake_nvml.install(*(shape(name, index, **processes) for index, name in enumerate(names)))
    ledger = XidLedger()
    ledger.record(XidEvent("GPU-a", 79))
    latest: Latest[GpuSnapshot] = Latest(SystemClock(), max_age=60.0)
    library = NvmlLibrary(pcie_throughput=True, env=fake_nvml.env)
    latest.put(await library.read())
    await library.aclose()
    registry = CollectorRegistry()
    registry.register(ThermalCollector(latest, ledger))
    page = generate_latest(registry)

    assert page.count(b"# TYPE aiidpd_gpu_") > 55
    checked = await anyio.run_process([promtool, "check", "metrics"], input=page, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")
