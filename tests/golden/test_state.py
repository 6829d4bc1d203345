"""A state directory that an earlier daemon wrote is read, written back equal, and gone on with."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from aiidpd.alerts.record import AlertRecords
from aiidpd.api.document import parse
from aiidpd.cli.text import Paint
from aiidpd.components.containers.pause.journal import PauseJournal
from aiidpd.components.thermal.energy.state import EnergyState, gpus_of, to_state
from aiidpd.components.thermal.forecast.baseline import Baselines, from_baselines, to_baselines
from aiidpd.components.thermal.governor.journal import RestoreJournal
from aiidpd.incidents.api import IncidentDocument
from aiidpd.incidents.cli_text import incident_lines
from aiidpd.incidents.store import IncidentStore
from aiidpd.kernel.events import Severity
from aiidpd.platform.boot import current_boot
from aiidpd.platform.statefile import StateFile
from tests.documents import as_dict
from tests.golden.golden import as_text, equals_golden
from tests.golden.observed import BOOT, ENDED, LEARNT, steady
from tests.golden.simulated import BEGAN, CONFIG, simulated

AWAY = 30.0  # seconds


def same(path: Path, written: bytes) -> None:
    """Fail where ``written`` says something else than the file, but for who wrote it and when."""
    clean = steady(Path("/nonexistent"))
    assert clean(written.decode()) == clean(path.read_bytes().decode())


def read_energy(state: Path) -> EnergyState:
    found = StateFile(state / "energy.json", EnergyState).load()
    assert found is not None
    return found


def read_alerts(state: Path) -> AlertRecords:
    found = StateFile(state / "alerts.json", AlertRecords).load()
    assert found is not None
    return found


def test_the_alerts_are_read_and_written_back(state: Path, tmp_path: Path) -> None:
    found = read_alerts(state)
    assert {each.alert for each in found.alerts} == {"GpuTemperatureWarning", "GpuTemperatureCritical"}
    StateFile(tmp_path / "alerts.json", AlertRecords).save(found)
    same(state / "alerts.json", (tmp_path / "alerts.json").read_bytes())


def test_the_account_of_energy_is_read_and_written_back(state: Path, tmp_path: Path) -> None:
    found = read_energy(state)
    gpus = gpus_of(found, time=found.saved_at, now=1000.0)
    assert [gpu.uuid for gpu in gpus] == ["GPU-SIMULATED-0", "GPU-SIMULATED-1"]
    assert found.shares
    again = to_state(found.since, gpus, found.shares, time=found.saved_at, now=1000.0)
    StateFile(tmp_path / "energy.json", EnergyState).save(again)
    written = json.loads((tmp_path / "energy.json").read_bytes())
    before = json.loads((state / "energy.json").read_bytes())
    for gpu in (*written["gpus"], *before["gpus"]):
        # Of this process: which second its clock showed, and the power just then.
        for name in ("at", "counter_at", "power"):
            del gpu["meter"][name]
        for name in ("age", "counter_age"):
            gpu[name] = round(gpu[name], 6)
    assert written == before


def test_the_baselines_are_read_and_written_back(state: Path, tmp_path: Path) -> None:
    name = "gpu-baselines.json"
    found = StateFile(state / name, Baselines).load()
    assert found is not None
    assert from_baselines(found) == LEARNT
    StateFile(tmp_path / name, Baselines, indent=1).save(to_baselines(from_baselines(found)))
    assert (tmp_path / name).read_bytes() == (state / name).read_bytes()


def test_the_lease_of_the_governor_is_read_and_written_back(state: Path, tmp_path: Path) -> None:
    name = "governor.lease.json"
    found = RestoreJournal(state / name, BOOT).read()
    assert (found.boot_id, found.pid) == (BOOT, 1)
    assert {gpu.power_limit_watts for gpu in found.gpus.values()} == {300.0}
    RestoreJournal(tmp_path / name, BOOT).write(found.gpus)
    same(state / name, (tmp_path / name).read_bytes())


def test_the_lease_of_pauses_is_read_and_written_back(state: Path, tmp_path: Path) -> None:
    name = "pauses.lease.json"
    found = PauseJournal(state / name).read()
    assert [pause.name for pause in found] == ["SIMULATED-vllm-openai-0"]
    PauseJournal(tmp_path / name).writing(found)()
    same(state / name, (tmp_path / name).read_bytes())


def test_the_incidents_are_read(state: Path) -> None:
    store = IncidentStore(state / "incidents")
    assert [each["state"] for each in store.summaries()] == ["complete", "recording"]
    for identity in store.identities():
        document = store.read(identity, 10_000)
        assert document["triggers"][0]["kind"] == "gpu.emergency"
        for gpu in document["gpus"]:
            assert gpu["columns"][:2] == ["time", "temperature_celsius"]
            assert len(gpu["data"]) > 80
            assert all(len(row) == len(gpu["columns"]) for row in gpu["data"])


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row[:2],
        lambda row: row[:-1],
        lambda row: [row[0], *reversed(row[1:])],
        lambda row: [*row[1:], row[0]],
        lambda row: [*row, "ecc_corrected_count" if row[0] == "timestamp" else "3"],
    ],
    ids=["two", "no clock events", "reordered", "time last", "one more"],
)
def test_an_incident_with_other_columns_is_read_and_drawn(
    state: Path, tmp_path: Path, change: Callable[[list[str]], list[str]]
) -> None:
    shutil.copytree(state / "incidents", tmp_path / "incidents")
    for file in tmp_path.rglob("*.csv"):
        with file.open(newline="") as before:
            lines = [change(line) for line in csv.reader(before)]
        with file.open("w", newline="") as after:
            csv.writer(after).writerows(lines)
    store, whole = IncidentStore(tmp_path / "incidents"), IncidentStore(state / "incidents")
    for identity in store.identities():
        found = as_dict(parse(IncidentDocument, store.read(identity, 10_000)))
        assert any("temperature °C" in line for line in incident_lines(found, Paint()))
        for gpu, as_before in zip(found["gpus"], whole.read(identity, 10_000)["gpus"], strict=True):
            for name in set(gpu["columns"]) & set(as_before["columns"]):
                here, there = gpu["columns"].index(name), as_before["columns"].index(name)
                assert [row[here] for row in gpu["data"]] == [row[there] for row in as_before["data"]]


async def test_a_daemon_goes_on_where_the_last_one_was_killed(state: Path, tmp_path: Path) -> None:
    shutil.copytree(state, tmp_path / "state")
    (tmp_path / "state" / "lock").write_text("1\n")
    for name in ("alerts.json", "governor.lease.json"):  # it is the same boot
        file = tmp_path / "state" / name
        file.write_text(file.read_text().replace(BOOT, current_boot()))
    alerted = {(each.alert, each.subject): each.since for each in read_alerts(state).alerts}
    spent = {gpu.uuid: gpu.meter.joules for gpu in read_energy(state).gpus}
    # New simulated cards are cool: by these limits what was too hot still is.
    config = CONFIG.replace("= 55", "= 30").replace("= 62", "= 35")
    async with simulated(tmp_path, ENDED + AWAY, config) as daemon:
        standing = (await daemon.get("/v1/alerts"))["alerts"]
        incidents = (await daemon.get("/v1/incidents"))["incidents"]
        events = (await daemon.get("/v1/events", limit=1000))["events"]
        history = await daemon.lines("/v1/gpus/history", gpu="0", since=ENDED - 60, until=ENDED)
        await daemon.advance(5.0)
        later = await daemon.get("/v1/gpus/energy")
        leases = sorted(file.name for file in daemon.state.glob("*.lease.json"))
    assert (
        alerted.items() <= {(alert["name"], alert["subject"]): alert["since"] for alert in standing}.items()
    )
    assert all(gpu["joules"] > spent[gpu["uuid"]] for gpu in later["gpus"])
    assert later["since"] == BEGAN
    assert [each["state"] for each in incidents][:2] == ["complete", "interrupted"]
    kinds = [event["kind"] for event in events]
    assert kinds.count("daemon.starting") == 2
    assert "alert.restored" in kinds
    assert kinds.count("gpu.governor_lease_void") == 2
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    assert {event["severity"] for event in events} <= {each.name.lower() for each in Severity}
    assert leases == []
    equals_golden(as_text(history[-5:]), "documents/gpus_history.json")
