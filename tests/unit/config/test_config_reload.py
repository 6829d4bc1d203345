from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.config.fields import Effect
from aiidpd.config.keys import dotted, effect, keys, tables
from aiidpd.config.model import Settings
from aiidpd.config.reload import ReloadPlan, reload_plan
from aiidpd.kernel.errors import Misconfigured

# A value for every key that is not its default and fits to the defaults of the others.
OTHER: dict[str, Any] = {
    "daemon.state_directory": "/srv/state",
    "daemon.runtime_directory": "/srv/run",
    "daemon.ready_timeout": "1s",
    "daemon.log_level": "debug",
    "daemon.log_format": "json",
    "gpu.library": "simulated",
    "gpu.interval": "2s",
    "gpu.fast_interval": "500ms",
    "gpu.call_timeout": "3s",
    "gpu.pcie_throughput": True,
    "gpu.warning_celsius": 80,
    "gpu.critical_celsius": 95,
    "gpu.hysteresis_celsius": 2,
    "gpu.emergency_stop": ["vllm"],
    "gpu.simulated_gpus": 2,
    "gpu.warning_dwell": "20s",
    "gpu.critical_dwell": "1s",
    "gpu.memory_warning_celsius": 95,
    "gpu.slowdown_margin_celsius": 4,
    "gpu.hot_limit": "5m",
    "gpu.throttle_limit": "10s",
    "gpu.resistance_drift_percent": 30,
    "gpu.ambient_celsius": 30,
    "gpu.expected_gpus": 2,
    "gpu.overrides": [{"gpu": "1", "warning_celsius": 75}],
    "gpu.governor": "on",
    "gpu.governor_target_celsius": 80,
    "gpu.governor_margin_celsius": 8,
    "gpu.governor_power_floor_percent": 60,
    "gpu.governor_lock_clocks": False,
    "gpu.governor_clock_floor_percent": 40,
    "gpu.governor_recovery": "1m",
    "gpu.governor_back_off_containers": ["vllm"],
    "incidents.keep": 10,
    "incidents.max_size": "1MiB",
    "energy.price_per_kwh": 0.25,
    "energy.currency": "CHF",
    "containers.engine": "simulated",
    "containers.socket": "/srv/docker.sock",
    "containers.reconcile_interval": "1m",
    "containers.call_timeout": "1s",
    "containers.longest_pause": "1m",
    "containers.rest_between_pauses": "5m",
    "containers.simulated_containers": 1,
    "backup.source": "/srv/models",
    "backup.target": "/srv/backup",
    "backup.schedule": "daily",
    "backup.reserve": "1GiB",
    "backup.exclude": [],
    "bench.interval": "1m",
    "bench.timeout": "1s",
    "bench.first_token_timeout": "1s",
    "bench.max_tokens": 8,
    "bench.engine_metrics_interval": "1s",
    "bench.endpoints": [{"name": "a", "kind": "simulated"}],
    "telemetry.listen": "",
    "control.admins": ["alice"],
    "control.group": "",
    "control.max_connections": 8,
    "history.keep": "1d",
    "history.max_size": "1GiB",
}
LIVE = {
    "control.admins",
    "daemon.log_level",
    "energy.price_per_kwh",
    "energy.currency",
    "incidents.keep",
    "incidents.max_size",
}
RESTART = {
    *(key for key in OTHER if key.startswith(("daemon.", "history.")) and key not in LIVE),
    "telemetry.listen",
    "control.group",
    "control.max_connections",
}
TABLES = {"gpu", "containers", "backup", "bench"}  # whose readers are replaced


# Source and target are set together or not at all.
NAMES = st.sets(st.sampled_from(sorted(OTHER))).map(
    lambda names: names | BOTH if names & BOTH else names,
)
BOTH = {"backup.source", "backup.target"}


def changed(names: set[str]) -> Settings:
    values: dict[str, dict[str, Any]] = {}
    for name in names:
        table, key = name.split(".")
        values.setdefault(table, {})[key] = OTHER[name]
    return Settings(**values)  # type: ignore[arg-type]


def test_every_key_has_a_case_here():
    assert set(OTHER) == {dotted(key) for key in keys()}


@settings(deadline=None)
@given(NAMES)
def test_a_plan_names_exactly_what_changed(names: set[str]):
    new = changed(names)
    plan = reload_plan(Settings(), new)
    assert plan.tables == {table for name in names if (table := name.split(".")[0]) in TABLES}
    assert set(plan.needs_restart) == names & RESTART
    assert set(plan.in_place) == names & LIVE
    assert set(plan.changed) == names
    assert reload_plan(new, Settings()) == plan
    assert not reload_plan(new, changed(names)).changed


def test_a_changed_secret_replaces_the_worker():
    def with_key(key: str) -> Settings:
        endpoint = {"name": "a", "url": "http://h", "model": "m", "api_key": key}
        return Settings(bench={"endpoints": [endpoint]})  # type: ignore[arg-type]

    assert reload_plan(with_key("one"), with_key("two")) == ReloadPlan(
        ("bench.endpoints",), frozenset({"bench"}), (), ()
    )
    assert not reload_plan(with_key("one"), with_key("one")).changed


def test_what_needs_a_restart_refuses_the_whole_reload():
    plan = reload_plan(Settings(), changed({"telemetry.listen", "history.keep", "gpu.interval"}))
    with pytest.raises(Misconfigured) as refused:
        plan.refuse_partial()
    assert str(refused.value) == (
        "cannot reload the configuration: telemetry.listen, history.keep changed, "
        "which takes effect at a start only; "
        "nothing was changed; restart the service, or take the change back"
    )
    reload_plan(Settings(), changed({"gpu.interval", "control.admins"})).refuse_partial()


def test_every_table_without_a_worker_says_how_its_keys_take_effect():
    for key in keys():
        owner = tables()[str(key[0])].worker
        assert (effect(key) is Effect.WORKER) == (owner is not None)
