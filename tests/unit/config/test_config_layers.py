from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from aiidpd.components.bench.settings import EndpointSettings
from aiidpd.config.fields import Unit
from aiidpd.config.load import Loaded, describe, load
from aiidpd.config.problems import InvalidConfiguration
from aiidpd.config.schema import Key, dotted, flatten, unit, value_at, variable
from aiidpd.config.toml import render
from aiidpd.config.units import parse_duration, parse_size
from aiidpd.daemon.schema import SCHEMA

# Keys of several tables and every kind of value; what each may hold fits to what the others may.
DURATIONS = st.integers(60, 600).map(lambda seconds: f"{seconds}s")
CHOICES: dict[Key, st.SearchStrategy[Any]] = {
    ("daemon", "log_level"): st.sampled_from(["debug", "info", "warning"]),
    ("gpu", "interval"): DURATIONS,
    ("gpu", "call_timeout"): DURATIONS,
    ("gpu", "simulated_gpus"): st.integers(0, 64),
    ("gpu", "alerts", "warning_dwell"): DURATIONS,
    ("gpu", "governor", "mode"): st.sampled_from(["off", "dry-run", "on"]),
    ("gpu", "governor", "back_off_containers"): st.lists(st.sampled_from(["aa", "bb"]), unique=True),
    ("backup", "exclude"): st.lists(st.sampled_from(["*.a", "*.b", "[x]"]), max_size=2),
    ("bench", "max_tokens"): st.integers(2, 100),
    ("bench", "endpoints"): st.lists(
        st.fixed_dictionaries(
            {"name": st.sampled_from(["a", "b", "c"]), "kind": st.just("simulated")},
            optional={"model": st.sampled_from(["m", "n"])},
        ),
        max_size=3,
        unique_by=lambda endpoint: endpoint["name"],
    ),
    ("control", "admins"): st.lists(st.one_of(st.integers(0, 9), st.just("alice")), max_size=3),
    ("history", "max_size"): st.integers(8, 99).map(lambda size: f"{size}MiB"),
}
LAYER = st.lists(st.sampled_from(sorted(CHOICES)), unique=True).flatmap(
    lambda chosen: st.fixed_dictionaries({key: CHOICES[key] for key in chosen})
)
FILES = ("aiidpd.toml", "conf.d/10-first.toml", "conf.d/20-second.toml")


def write(path: Path, values: dict[Key, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    lines: list[str] = []
    for table in sorted({key[:-1] for key in values}):
        own = (f"{key[-1]} = {render(value)}" for key, value in values.items() if key[:-1] == table)
        lines += [f"[{dotted(table)}]", *own]
    path.write_text("\n".join(lines))


def read(value: Any) -> Any:
    """What the settings hold where a file says ``value``."""
    if isinstance(value, list):
        return tuple(EndpointSettings(**item) if isinstance(item, dict) else item for item in value)
    return value


PARSED: dict[Unit | None, Callable[[Any], Any]] = {Unit.DURATION: parse_duration, Unit.SIZE: parse_size}


@settings(deadline=None)
@given(st.lists(LAYER, min_size=4, max_size=4))
def test_the_last_layer_that_sets_a_key_wins_and_its_origin_says_so(layers: list[dict[Key, Any]]):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, values in zip(FILES, layers[:3], strict=True):
            write(root / name, values)
        environ = {
            variable(key): str(value) if isinstance(value, str) else render(value)
            for key, value in layers[3].items()
        }
        loaded = load(SCHEMA, root / FILES[0], environ)
        lines = [(root / name).read_text().split("\n") for name in FILES]

    for key, field in SCHEMA.keys.items():
        value = value_at(loaded.settings, key)
        here = (dotted(key), f"{dotted(key)}[")  # a list of tables has an origin for each key in it
        origins = {
            str(origin) for at, origin in loaded.origins.items() if at == here[0] or at.startswith(here[1])
        }
        setters = [index for index, layer in enumerate(layers) if key in layer]
        if not setters:
            assert value == field.default
            assert origins <= {"default"}
            continue
        last = setters[-1]
        if key == ("bench", "endpoints") and value:
            origins.discard("default")  # what an entry does not set
            assert origins
        wanted = layers[last][key]
        assert value == PARSED.get(unit(field), read)(wanted)
        if last == len(FILES):
            assert origins <= {f"environment {variable(key)}"}
        else:
            for origin in origins:
                path, _, line = origin.rpartition(":")
                assert path.endswith(FILES[last])
                assert lines[last][int(line) - 1] == f"{key[-1]} = {render(wanted)}"


@pytest.fixture
def configuration(tmp_path: Path) -> Callable[..., Loaded]:
    def make(text: str, environ: dict[str, str] | None = None, **drop_ins: str) -> Loaded:
        (tmp_path / "aiidpd.toml").write_text(text)
        (tmp_path / "conf.d").mkdir(exist_ok=True)
        for name, content in drop_ins.items():
            (tmp_path / "conf.d" / f"{name}.toml").write_text(content)
        return load(SCHEMA, tmp_path / "aiidpd.toml", environ or {}, tmp_path / "credentials")

    (tmp_path / "credentials").mkdir()
    return make


ENDPOINTS = """
[[bench.endpoints]]
name = "one"
url = "http://localhost:8000/v1/"
model = "m"
api_key = "sk-written"

[[bench.endpoints]]
name = "two"
kind = "simulated"
"""


def test_without_any_file_the_defaults_hold(tmp_path: Path):
    loaded = load(SCHEMA, None, {"PATH": "/bin"}, default_path=tmp_path / "aiidpd.toml")
    assert loaded.settings == SCHEMA.settings()
    assert {str(origin) for origin in loaded.origins.values()} == {"default"}


def test_the_default_file_is_read_where_it_exists(tmp_path: Path):
    (tmp_path / "aiidpd.toml").write_text("[gpu]\nsimulated_gpus = 7\n")
    assert load(SCHEMA, None, {}, default_path=tmp_path / "aiidpd.toml").settings.gpu.simulated_gpus == 7


def test_drop_ins_of_a_missing_default_file_are_read(tmp_path: Path):
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "x.toml").write_text("[gpu]\nsimulated_gpus = 7\n")
    assert load(SCHEMA, None, {}, default_path=tmp_path / "aiidpd.toml").settings.gpu.simulated_gpus == 7


def test_a_drop_in_leaves_the_rest_of_its_table(configuration: Callable[..., Loaded]):
    loaded = configuration('[gpu]\nwarning_celsius = 70\ninterval = "5s"', a='[gpu]\ninterval = "2s"')
    assert (loaded.settings.gpu.warning_celsius, loaded.settings.gpu.interval) == (70, 2.0)


def test_drop_ins_are_read_by_name_and_hidden_or_other_files_are_not(
    configuration: Callable[..., Loaded], tmp_path: Path
):
    (tmp_path / "conf.d").mkdir()
    for name in (".hidden.toml", "x.toml~", "x.toml.dpkg-new", "README"):
        (tmp_path / "conf.d" / name).write_text("broken =")
    numbers = {f"{number:02}": f"[gpu]\nsimulated_gpus = {number}" for number in (9, 3, 5)}
    assert configuration("", **numbers).settings.gpu.simulated_gpus == 9


def test_the_environment_of_other_programs_is_no_concern(configuration: Callable[..., Loaded]):
    environ = {"GPU__INTERVAL": "1", "aiidpd_gpu__interval": "x", "AIIDPD_REQUIRE_REAL": "1", "AIIDPD": "x"}
    assert configuration("", environ).settings == SCHEMA.settings()


def test_a_variable_holds_the_bare_value_and_lists_as_in_the_file(configuration: Callable[..., Loaded]):
    environ = {
        "AIIDPD_GPU__WARNING_CELSIUS": "80",
        "AIIDPD_GPU__INTERVAL": "250ms",
        "AIIDPD_BACKUP__SOURCE": "",
        "AIIDPD_CONTROL__ADMINS": '["alice", 1000]',
        "AIIDPD_CONTROL__GROUP": "",
        "AIIDPD_BENCH__ENDPOINTS": '[{ name = "x", kind = "simulated" }]',
    }
    settings = configuration('[backup]\nsource = "/a"', environ).settings
    assert settings.gpu.warning_celsius == 80
    assert settings.gpu.interval == 0.25
    assert settings.backup.source is None
    assert settings.control.admins == ("alice", 1000)
    assert settings.control.group == ""
    assert [endpoint.name for endpoint in settings.bench.endpoints] == ["x"]


def test_a_credential_fills_in_the_endpoint_of_its_name(configuration: Callable[..., Loaded], tmp_path: Path):
    (tmp_path / "credentials" / "aiidpd.bench.endpoints.two.api_key").write_text("sk-handed\n")
    (tmp_path / "credentials" / "of-another-service").write_text("x")
    loaded = configuration(ENDPOINTS)
    one, two = loaded.settings.bench.endpoints
    assert one.api_key is not None
    assert two.api_key is not None
    assert (one.api_key.get_secret_value(), two.api_key.get_secret_value()) == ("sk-written", "sk-handed")
    assert str(loaded.origins["bench.endpoints[0].api_key"]).endswith("aiidpd.toml:6")
    assert (
        str(loaded.origins["bench.endpoints[1].api_key"]) == "credential aiidpd.bench.endpoints.two.api_key"
    )
    assert str(loaded.origins["bench.endpoints[1].kind"]).endswith("aiidpd.toml:10")


def test_a_credential_overrides_the_file(configuration: Callable[..., Loaded], tmp_path: Path):
    (tmp_path / "credentials" / "aiidpd.bench.endpoints.one.api_key").write_text("sk-handed")
    key = configuration(ENDPOINTS).settings.bench.endpoints[0].api_key
    assert key is not None
    assert key.get_secret_value() == "sk-handed"


def test_the_credentials_directory_comes_from_the_environment(tmp_path: Path):
    (tmp_path / "handed").mkdir()
    (tmp_path / "handed" / "aiidpd.bench.endpoints.one.api_key").write_text("sk-handed")
    (tmp_path / "aiidpd.toml").write_text(ENDPOINTS)
    loaded = load(SCHEMA, tmp_path / "aiidpd.toml", {"CREDENTIALS_DIRECTORY": str(tmp_path / "handed")})
    assert loaded.origins["bench.endpoints[0].api_key"].layer == "credential"


def test_every_value_is_described_in_toml_with_its_origin_and_secrets_are_masked(
    configuration: Callable[..., Loaded],
):
    loaded = configuration(ENDPOINTS + '[gpu]\ninterval = "90s"\n')
    rows = {key: (value, str(origin).rsplit("/")[-1]) for key, value, origin in describe(loaded)}
    assert rows["gpu.interval"] == ('"90s"', "aiidpd.toml:12")
    assert rows["gpu.critical_celsius"] == ("90", "default")
    assert rows["backup.source"] == ('""', "default")
    assert rows["backup.exclude"] == ('["*.tmp", "*.lock", "*.incomplete"]', "default")
    assert rows["history.max_size"] == ('"200MiB"', "default")
    assert rows["bench.endpoints[0].url"] == ('"http://localhost:8000/v1"', "aiidpd.toml:4")
    assert rows["bench.endpoints[0].api_key"] == ('"**********"', "aiidpd.toml:6")
    assert rows["bench.endpoints[1].api_key"] == ('""', "default")
    assert "sk-written" not in f"{loaded.settings!r}{rows}{loaded.settings.model_dump_json()}"
    assert len(rows) == len(list(flatten(loaded.settings)))


def test_settings_are_frozen_and_arguments_alone_make_them(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("gpu", '{"simulated_gpus": 9}')
    monkeypatch.setenv("AIIDPD_GPU__SIMULATED_GPUS", "9")
    made = SCHEMA.settings(gpu={"interval": "3s"})  # type: ignore[arg-type]
    assert (made.gpu.interval, made.gpu.simulated_gpus) == (3.0, 1)
    with pytest.raises(ValidationError):
        made.gpu.interval = 4.0  # type: ignore[misc]


def test_dev_null_is_an_empty_file():
    assert load(SCHEMA, Path("/dev/null"), {}).settings == SCHEMA.settings()


def test_a_file_that_only_others_may_read_is_named_with_the_user(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text("")
    path.chmod(stat.S_IWUSR)
    tmp_path.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        with pytest.raises(InvalidConfiguration) as refused:
            load(SCHEMA, path, {})
    finally:
        if user == 0:
            os.seteuid(0)
    assert "may not read it" in str(refused.value)
    assert str(path) in str(refused.value)
