from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from aiidpd.config.load import load
from aiidpd.config.problems import InvalidConfiguration
from aiidpd.config.schema import Key, dotted, value_at, variable
from aiidpd.config.toml import render
from aiidpd.daemon.schema import SCHEMA
from aiidpd.kernel.errors import Misconfigured

NOTHING = Path("/dev/null")
NO_SECRET = (
    ".api_key: there is no such secret; secrets are named aiidpd.engines.servers.NAME.api_key "
    "or aiidpd.offsite.repositories.NAME.password or aiidpd.offsite.repositories.NAME.environment "
    "or aiidpd.models.token "
    "or aiidpd.bench.endpoints.NAME.api_key; "
    "what is not secret belongs in the file"
)
BAD_SECRET = "holds a space, a control character or a letter outside ASCII"
GOLDEN = Path(__file__).parent / "golden"


def cases(name: str) -> dict[str, tuple[str, list[str]]]:
    """What is given and what is said about it, by case: ``=== case``, the one, ``---``, the other."""
    found: dict[str, tuple[str, list[str]]] = {}
    for block in (GOLDEN / name).read_text().split("=== ")[1:]:
        case, _, rest = block.partition("\n")
        given, _, said = rest.partition("\n---\n")
        found[case] = f"{given}\n", [line for line in said.split("\n") if line]
    return found


FILE_CASES = cases("file.txt")
ENVIRONMENT_CASES = cases("environment.txt")


def refuse(path: Path, environ: dict[str, str] | None = None, credentials: Path | None = None) -> list[str]:
    with pytest.raises(InvalidConfiguration) as refused:
        load(SCHEMA, path, environ or {}, credentials)
    assert "sk-secret" not in f"{refused.value}{refused.value.__context__!r}{refused.value.__cause__!r}"
    return [str(problem).replace(str(path), "FILE") for problem in refused.value.problems]


@pytest.mark.parametrize("case", FILE_CASES)
def test_a_mistake_in_a_file_is_told_with_its_line_and_what_to_do(case: str, tmp_path: Path):
    text, expected = FILE_CASES[case]
    path = tmp_path / "aiidpd.toml"
    path.write_text(text)
    assert refuse(path) == expected


@pytest.mark.parametrize("case", ENVIRONMENT_CASES)
def test_a_mistake_in_the_environment_is_told_with_its_variable(case: str):
    given, expected = ENVIRONMENT_CASES[case]
    environ = dict(line.split("=", maxsplit=1) for line in given.splitlines())
    assert refuse(NOTHING, environ) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ufeff[gpu]\n", "FILE:1: is not TOML: invalid statement at column 1; the file begins with a byte"),
        (f'[gpu]\nlibrary = "{"x" * 500}"\n', f'FILE:2: gpu.library = "{"x" * 59}...: must be one of'),
        (f"x = {'[' * 5000}{']' * 5000}\n", "FILE: is nested too deeply"),
        (f"x = 1{'0' * 5000}\n", "FILE: is not TOML: Exceeds the limit"),
        ('[gpu]\n"\\u001b[31m" = 1\n', 'FILE:2: gpu."\\u001B[31m": unknown key'),
        ('[gpu]\n"" = 1\n', 'FILE:2: gpu."": unknown key'),
        (
            '[daemon]\nstate_directory = "/var/\\u0000"\n',
            'FILE:2: daemon.state_directory = "/var/\\u0000": holds',
        ),
    ],
)
def test_an_odd_file_is_told_as_well(text: str, said: str, tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text(text)
    [problem] = refuse(path)
    assert problem.startswith(said)
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "AIIDPD_GPU__WARNING_CELSIUS",
            "80\ncritical_celsius = 150",
            '"80\\ncritical_celsius = 150": must be a',
        ),
        ("AIIDPD_DAEMON__STATE_DIRECTORY", "/srv/\udcff", '"/srv/\\uDCFF": holds a control character'),
        ("AIIDPD_DAEMON__RUNTIME_DIRECTORY", "/" + "r" * 94, "r/metrics.sock has 108 bytes, and a Unix"),
        ("AIIDPD_CONTAINERS__SOCKET", "/" + "s" * 107, "s has 108 bytes, and a Unix socket's path holds 107"),
        ("AIIDPD_\x1b", "", "AIIDPD_\\u001B: there is no such setting"),
        (
            "AIIDPD_CONTROL__ADMINS",
            "alice",
            "control.admins: is not a TOML list; write it as in the file, such as [",
        ),
        ("AIIDPD_BACKUP__SCHEDULE", "*" * 401, "is longer than 400 characters"),
        ("AIIDPD_BACKUP__SCHEDULE", "Sun 03:00 Europe", "is not a calendar expression"),
        ("AIIDPD_TELEMETRY__LISTEN", "::1:9753", "an IPv6 address must be in brackets"),
        ("AIIDPD_TELEMETRY__LISTEN", "127.0.0.1:65536", "must be an IP address and a port"),
        ("AIIDPD_TELEMETRY__LISTEN", "9753", "must be an IP address and a port"),
    ],
)
def test_an_odd_variable_is_told_as_well(name: str, value: str, said: str):
    [problem] = refuse(NOTHING, {name: value})
    assert said in problem
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIIDPD_DAEMON__RUNTIME_DIRECTORY", "/" + "r" * 93),
        ("AIIDPD_BACKUP__SCHEDULE", ""),
        ("AIIDPD_BACKUP__SCHEDULE", "*-*-01 02:30 Europe/Berlin"),
        ("AIIDPD_TELEMETRY__LISTEN", ""),
        ("AIIDPD_TELEMETRY__LISTEN", "[::1]:0"),
        ("AIIDPD_TELEMETRY__LISTEN", "127.8.9.1:65535"),
        ("AIIDPD_GPU__CRITICAL_CELSIUS", "86"),
        ("AIIDPD_CONTROL__GROUP", "svc-ai$"),
    ],
)
def test_what_is_just_inside_the_bounds_is_taken(name: str, value: str):
    load(SCHEMA, NOTHING, {name: value})


def test_all_mistakes_of_all_layers_come_in_one_error_a_line_each(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text('[gpu]\ninterval = "0s"\n')
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text("[gpus]\n")
    with pytest.raises(Misconfigured) as refused:
        load(SCHEMA, path, {"AIIDPD_X": "", "AIIDPD_GPU__WARNING_CELSIUS": "1e9"})
    head, *lines = str(refused.value).split("\n")
    assert head == "cannot use the configuration: 4 problems"
    assert [line.split(":")[0].removeprefix(f"{tmp_path}/") for line in lines] == [
        "environment AIIDPD_X",
        "aiidpd.toml",
        "environment AIIDPD_GPU__WARNING_CELSIUS",
        "conf.d/a.toml",
    ]


def test_what_an_unreadable_file_may_settle_is_not_a_mistake_yet(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text("critical_celsius = \n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text("[gpu]\nwarning_celsius = 95\n[bench]\nmax_tokens = -1\n")
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "aiidpd.bench.endpoints.one.api_key").write_text("x")
    problems = refuse(path, credentials=tmp_path / "credentials")
    assert problems == [
        "FILE:1: is not TOML: invalid value at column 20",
        f"{tmp_path}/conf.d/a.toml:4: bench.max_tokens = -1: must be at least 2",
    ]


def test_a_drop_in_does_not_hide_a_mistaken_table(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text('\nbench = "sk-secret"\n')
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "a.toml").write_text("[bench]\nmax_tokens = 3\n")
    assert refuse(path) == ["FILE:2: bench: must be a table; write [bench] on a line of its own"]


def test_a_file_that_is_none_is_told_and_never_waited_for(tmp_path: Path):
    def said(name: str) -> str:
        [problem] = refuse(tmp_path / name)
        return problem

    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "large").write_bytes(b"#" * (2**20 + 1))
    (tmp_path / "latin").write_bytes(b"# one\n# \xe9\n")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        assert said("sock") == "FILE: cannot be read: no such device or address; correct the path"
    assert said("missing") == "FILE: cannot be read: it does not exist; create it, or correct the path"
    assert said("folder") == "FILE: cannot be read: it is a directory, not a file; give the path of a file"
    assert said("pipe") == "FILE: cannot be read: it is a named pipe, not a file; give the path of a file"
    assert said("loop") == "FILE: cannot be read: too many levels of symbolic links; correct the path"
    assert said("large") == "FILE: cannot be read: it is larger than 1048576 bytes; shorten it"
    assert said("latin") == "FILE:2: is not UTF-8; save the file as UTF-8"
    assert said("x" * 300).startswith("FILE: cannot be read: file name too long")


def test_a_broken_folder_of_drop_ins_is_told(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text("")
    (tmp_path / "conf.d").write_text("")
    assert refuse(path) == [f"{tmp_path}/conf.d: cannot be listed: not a directory"]
    (tmp_path / "conf.d").unlink()
    (tmp_path / "conf.d" / "a.toml").mkdir(parents=True)
    (tmp_path / "conf.d" / "b.toml").symlink_to("nowhere")
    first, second = refuse(path)
    assert first.startswith(f"{tmp_path}/conf.d/a.toml: cannot be read: it is a directory")
    assert second.startswith(f"{tmp_path}/conf.d/b.toml: cannot be read: it does not exist")


def test_a_credential_that_fits_nothing_is_told_without_its_content(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text('[[bench.endpoints]]\nname = "one"\nkind = "simulated"\n')
    folder = tmp_path / "credentials"
    folder.mkdir()
    for name, content in {
        "aiidpd.bench.api_key": b"sk-secret",
        "aiidpd.bench.endpoints.one.api_key": b"sk-secret\nsk-secret\n",
        "aiidpd.bench.endpoints.two.api_key": b"sk-secret",
        "aiidpd.bench.endpoints.three.api_key": b"",
        "aiidpd.bench.endpoints.four.api_key": b"\xff",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "aiidpd.bench.endpoints.five.api_key").mkdir()
    prefix = "credential aiidpd.bench"
    problems = [problem.removeprefix(prefix) for problem in refuse(path, credentials=folder)]
    assert problems == [
        NO_SECRET,
        ".endpoints.five.api_key: cannot be read: it is a directory, not a file; give the path of a file",
        ".endpoints.four.api_key: cannot be read: it is not UTF-8; write it as text",
        ".endpoints.three.api_key: cannot be read: it is empty; write the secret, or remove it",
        ".endpoints.two.api_key: bench.endpoints has no entry two (there is: one); correct the name",
        f".endpoints.one.api_key: bench.endpoints[0].api_key: {BAD_SECRET}",
    ]
    [problem] = refuse(path, credentials=tmp_path / "nowhere")
    assert problem.startswith(f"{tmp_path}/nowhere: cannot be listed: no such file or directory")


@pytest.mark.parametrize("old", SCHEMA.moved, ids=dotted)
def test_a_key_that_moved_is_refused_with_its_new_name(old: Key, tmp_path: Path):
    new = dotted(SCHEMA.moved[old])
    path = tmp_path / "aiidpd.toml"
    path.write_text(f"{dotted(old)} = 1\n")
    [problem] = refuse(path)
    assert problem.startswith("FILE:1: ")
    assert new in problem or f"[{new.rpartition('.')[0]}]" in problem
    [problem] = refuse(NOTHING, {variable(old): "1"})
    assert problem == (
        f"environment {variable(old)}: this setting has moved; set {variable(SCHEMA.moved[old])} instead"
    )


CONTRACT = {  # the keys that scripts rely on, by their literal names
    "daemon.state_directory": "/srv/state",
    "daemon.runtime_directory": "/srv/run",
    "gpu.library": "simulated",
    "gpu.warning_celsius": 80,
    "gpu.governor.mode": "on",
    "containers.engine": "simulated",
    "containers.socket": "/srv/docker.sock",
    "backup.source": "/srv/models",
    "backup.target": "/srv/backup",
    "backup.schedule": "daily",
    "bench.endpoints": [{"name": "a", "url": "http://h", "model": "m"}],
    "telemetry.listen": "127.0.0.1:9753",
    "control.admins": ["alice"],
}


def test_each_key_that_scripts_rely_on_can_be_set_by_its_name(tmp_path: Path):
    path = tmp_path / "aiidpd.toml"
    path.write_text("".join(f"{key} = {render(value)}\n" for key, value in CONTRACT.items()))
    origins = load(SCHEMA, path, {}).origins
    for line, key in enumerate(CONTRACT, start=1):
        assert str(origins.get(key) or origins[f"{key}[0].name"]) == f"{path}:{line}"


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("AIIDPD_GPU__WARNING_CELSIUS", ("gpu", "warning_celsius"), 80),
        ("AIIDPD_GPU__GOVERNOR__MODE", ("gpu", "governor", "mode"), "on"),
    ],
)
def test_each_variable_that_scripts_rely_on_sets_its_key(name: str, key: Key, value: object):
    assert value_at(load(SCHEMA, NOTHING, {name: str(value)}).settings, key) == value
