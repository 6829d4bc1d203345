from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aiidpd.config.fields import Effect
from aiidpd.config.reload import ReloadPlan, reload_plan
from aiidpd.config.schema import Settings, dotted
from aiidpd.daemon.schema import SCHEMA
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
    "gpu.alerts.warning_dwell": "20s",
    "gpu.alerts.critical_dwell": "1s",
    "gpu.memory_warning_celsius": 95,
    "gpu.slowdown_margin_celsius": 4,
    "gpu.alerts.hot_limit": "5m",
    "gpu.alerts.throttle_limit": "10s",
    "gpu.alerts.resistance_drift_percent": 30,
    "gpu.ambient_celsius": 30,
    "gpu.alerts.expected_gpus": 2,
    "gpu.overrides": [{"gpu": "1", "warning_celsius": 75}],
    "gpu.governor.mode": "on",
    "gpu.governor.target_celsius": 80,
    "gpu.governor.margin_celsius": 8,
    "gpu.governor.power_floor_percent": 60,
    "gpu.governor.lock_clocks": False,
    "gpu.governor.clock_floor_percent": 40,
    "gpu.governor.recovery": "1m",
    "gpu.governor.back_off_containers": ["vllm"],
    "incidents.keep": 10,
    "incidents.max_size": "1MiB",
    "gpu.energy.price_per_kwh": 0.25,
    "gpu.energy.currency": "CHF",
    "containers.engine": "simulated",
    "containers.socket": "/srv/docker.sock",
    "containers.gate": True,
    "containers.reconcile_interval": "1m",
    "containers.call_timeout": "1s",
    "containers.emergency_grace": "5s",
    "containers.pause.longest": "1m",
    "containers.pause.rest": "5m",
    "containers.heal.mode": "restart",
    "containers.heal.dry_run": True,
    "containers.heal.budget": "3/1h",
    "containers.heal.grace": "1m",
    "containers.heal.backoff_initial": "1s",
    "containers.heal.backoff_cap": "1m",
    "containers.heal.drain": "1s",
    "containers.heal.stop_grace": "1s",
    "containers.heal.concurrent": 1,
    "containers.heal.cooldown": "1s",
    "containers.heal.quiet_hours": "22:00-06:00",
    "containers.heal.rules": [{"container": "vllm", "mode": "restart"}],
    "containers.simulated_containers": 1,
    "containers.logs.interval": "1m",
    "containers.logs.lines": 500,
    "containers.logs.storm_lines_per_second": 50,
    "containers.usage.memory_horizon": "2d",
    "engines.liveness.enabled": False,
    "engines.liveness.minimum_quiet": "12s",
    "engines.liveness.maximum_quiet": "40s",
    "engines.liveness.load_timeout": "2h",
    "engines.liveness.check_interval": "0s",
    "backup.source": "/srv/models",
    "backup.target": "/srv/backup",
    "backup.schedule": "daily",
    "backup.jitter": "0s",
    "backup.retention.keep_last": 5,
    "backup.retention.keep_daily": 0,
    "backup.retention.keep_weekly": 8,
    "backup.retention.keep_monthly": 24,
    "backup.retention.max_size": "4TiB",
    "backup.retention.pins": ["20261122T020000Z"],
    "backup.rate": "100MiB",
    "backup.xattrs": True,
    "backup.pause_while_loading": False,
    "backup.verify.within": "10d",
    "backup.verify.schedule": "daily",
    "backup.verify.source_within": "0s",
    "backup.verify.heal": False,
    "backup.drill.schedule": "weekly",
    "backup.drill.size": "1GiB",
    "backup.drill.scratch": "/srv/scratch",
    "backup.reserve": "1GiB",
    "backup.exclude": [],
    "offsite.restic": "/opt/restic",
    "offsite.rclone": "/opt/rclone",
    "offsite.stall_after": "1h",
    "models.signers": [{"name": "vendor", "public_key": "/etc/aiidpd/vendor.pem"}],
    "offsite.repositories": [{"name": "far", "repository": "/srv/far"}],
    "models.folders": ["/srv/models"],
    "models.scan_interval": "2h",
    "models.leftover_age": "2d",
    "models.disk_warning": "30d",
    "models.upstream": True,
    "models.endpoint": "https://mirror.example",
    "models.token": "hf_secret",
    "containers.upgrades.allow": ["vllm"],
    "containers.upgrades.pull_timeout": "2h",
    "audit.enabled": False,
    "audit.host": False,
    "audit.listeners": False,
    "audit.ignored_ports": [8443],
    "audit.interval": "10m",
    "audit.waivers": [{"rule": "network-host", "reason": "measured", "until": "2030-01-01"}],
    "bench.interval": "1m",
    "bench.timeout": "1s",
    "bench.first_token_timeout": "1s",
    "bench.max_tokens": 8,
    "bench.wake": True,
    "bench.throttled": "reject",
    "bench.gpu_time_ratio": 0.01,
    "engines.interval": "1s",
    "engines.containers": False,
    "engines.servers": [{"name": "a", "url": "http://127.0.0.1:8000"}],
    "bench.endpoints": [{"name": "a", "kind": "simulated"}],
    "physics.claims": "/var/lib/claims.toml",
    "telemetry.listen": "",
    "telemetry.hosts": ["gpu1.example.org"],
    "telemetry.group": "prometheus",
    "control.admins": ["alice"],
    "control.group": "",
    "control.max_connections": 8,
    "history.keep": "1d",
    "history.max_size": "1GiB",
}
LIVE = {
    "control.admins",
    "daemon.log_level",
    "gpu.energy.price_per_kwh",
    "gpu.energy.currency",
    "incidents.keep",
    "incidents.max_size",
}
RESTART = {
    *(key for key in OTHER if key.startswith(("daemon.", "history.")) and key not in LIVE),
    "physics.claims",
    "telemetry.listen",
    "telemetry.hosts",
    "telemetry.group",
    "control.group",
    "control.max_connections",
}
TABLES = {
    "gpu",
    "containers",
    "engines",
    "backup",
    "offsite",
    "models",
    "audit",
    "bench",
}  # whose readers are replaced


# Source and target are set together or not at all.
NAMES = st.sets(st.sampled_from(sorted(OTHER))).map(
    lambda names: names | BOTH if names & BOTH else names,
)
BOTH = {"backup.source", "backup.target"}


def changed(names: set[str]) -> Settings:
    values: dict[str, dict[str, Any]] = {}
    for name in names:
        *tables, key = name.split(".")
        within: dict[str, Any] = values
        for table in tables:
            within = within.setdefault(table, {})
        within[key] = OTHER[name]
    return SCHEMA.settings(**values)


def test_every_key_has_a_case_here():
    assert set(OTHER) == {dotted(key) for key in SCHEMA.keys}


@settings(deadline=None)
@given(NAMES)
def test_a_plan_names_exactly_what_changed(names: set[str]):
    new = changed(names)
    plan = reload_plan(SCHEMA, SCHEMA.settings(), new)
    assert plan.tables == {table for name in names - LIVE if (table := name.split(".")[0]) in TABLES}
    assert set(plan.needs_restart) == names & RESTART
    assert set(plan.in_place) == names & LIVE
    assert set(plan.changed) == names
    assert reload_plan(SCHEMA, new, SCHEMA.settings()) == plan
    assert not reload_plan(SCHEMA, new, changed(names)).changed


def test_a_changed_secret_replaces_the_worker():
    def with_key(key: str) -> Settings:
        endpoint = {"name": "a", "url": "http://h", "model": "m", "api_key": key}
        return SCHEMA.settings(bench={"endpoints": [endpoint]})

    assert reload_plan(SCHEMA, with_key("one"), with_key("two")) == ReloadPlan(
        ("bench.endpoints",), frozenset({"bench"}), (), ()
    )
    assert not reload_plan(SCHEMA, with_key("one"), with_key("one")).changed


def test_what_needs_a_restart_refuses_the_whole_reload():
    plan = reload_plan(
        SCHEMA, SCHEMA.settings(), changed({"telemetry.listen", "history.keep", "gpu.interval"})
    )
    with pytest.raises(Misconfigured) as refused:
        plan.refuse_partial()
    assert str(refused.value) == (
        "cannot reload the configuration: telemetry.listen, history.keep changed, "
        "which takes effect at a start only; "
        "nothing was changed; restart the service, or take the change back"
    )
    reload_plan(SCHEMA, SCHEMA.settings(), changed({"gpu.interval", "control.admins"})).refuse_partial()


def test_a_table_that_tasks_read_replaces_them_but_for_keys_that_take_effect_in_place():
    for key in SCHEMA.keys:
        read = bool(SCHEMA.readers.get(str(key[0])))
        assert (SCHEMA.effect(key) is Effect.TASKS) == (read and dotted(key) not in LIVE | RESTART)


def test_a_component_that_follows_a_table_has_its_tasks_replaced_with_it():
    assert SCHEMA.readers["bench"] == ("engines", "bench")
