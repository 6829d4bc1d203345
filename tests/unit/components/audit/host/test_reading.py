from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.audit.evaluate import Auditor, Subjects
from aiidpd.components.audit.facts import Facts, Firewall, Listener, ModelFacts
from aiidpd.components.audit.host import apt_conf, firewall, sockets
from aiidpd.components.audit.host.files import read_daemon, read_host, read_toolkit
from aiidpd.components.audit.host.models import model_facts
from aiidpd.components.audit.host.packages import installed, upgrades
from aiidpd.components.audit.host.sockets import Socket
from aiidpd.contracts.inspections import EngineFacts
from aiidpd.contracts.models import StoredFile, StoredModel
from aiidpd.kernel.errors import Unavailable

STATUS = """\
Package: nvidia-driver
Status: install ok installed
Version: 535.183.01-1

Package: libnvidia-container1
Status: install ok installed
Version: 1.17.4-1

Package: nvidia-container-toolkit
Status: install ok installed
Version: 1.17.4-1

Package: libnvidia-compute-550
Status: hold ok installed
Version: 550.1

Package: nvidia-smi
Status: deinstall ok config-files
Version: 1

Package: bash
Status: install ok installed
Version: 5

Package: unattended-upgrades
Status: install ok installed
Version: 2.9
"""
PERIODIC = 'APT::Periodic::Update-Package-Lists "1";\nAPT::Periodic::Unattended-Upgrade "1";\n'


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "status").write_text(STATUS)
    (tmp_path / "apt" / "apt.conf.d").mkdir(parents=True)
    (tmp_path / "apt" / "apt.conf.d" / "20auto-upgrades").write_text(PERIODIC)
    return tmp_path


def rules(**facts: object) -> set[str]:
    report = Auditor().audit(Subjects(**facts))  # type: ignore[arg-type]
    return {each.rule for each in report.findings}


def test_the_driver_that_unattended_upgrades_may_replace(machine: Path):
    found = upgrades(installed(machine / "status"), machine / "apt")
    assert found.enabled
    assert found.nvidia == ("nvidia-driver",)


@pytest.mark.parametrize(
    "text",
    [
        'Unattended-Upgrade::Package-Blacklist { "nvidia-"; };',
        'Unattended-Upgrade { Package-Blacklist { "nvidia-driver$"; }; };',
        'Unattended-Upgrade::Package-Blacklist:: "nvidia-.*";',
        'Unattended-Upgrade::Package-Blacklist { // a remark\n "(lib)?nvidia"; };',
        'APT::Periodic::Unattended-Upgrade "0";',
    ],
)
def test_packages_that_are_forbidden_or_upgrades_that_are_off(machine: Path, text: str):
    (machine / "apt" / "apt.conf.d" / "50unattended-upgrades").write_text(text)
    host = read_host(
        status=machine / "status",
        apt=machine / "apt",
        daemon=machine / "none",
        runtime=machine / "none",
        firewall=Firewall,
    )
    assert "driver-upgraded-unattended" not in rules(facts=Facts(host=host))


def test_a_machine_with_an_old_toolkit_and_upgrades(machine: Path):
    (machine / "runtime.toml").write_text('[nvidia-container-runtime]\nmode = "legacy"\n')
    host = read_host(
        status=machine / "status",
        apt=machine / "apt",
        daemon=machine / "none",
        runtime=machine / "runtime.toml",
        firewall=Firewall,
    )
    assert rules(facts=Facts(host=host)) == {
        "toolkit-old",
        "toolkit-legacy",
        "toolkit-any-container",
        "driver-upgraded-unattended",
    }
    assert host.unread == {}


@pytest.mark.parametrize(
    ("version", "old"), [("1.18.0-1", False), ("1.17.9-1", True), ("1:1.9.1", True), ("2.0", False)]
)
def test_the_toolkit_is_old_before_1_18(version: str, old: bool):
    toolkit = read_toolkit({"nvidia-container-toolkit": (version, False)}, Path("/nowhere/config.toml"))
    host = read_host(daemon=Path("/nowhere"), status=Path("/nowhere"), firewall=Firewall)
    found = rules(facts=Facts(host=type(host)(toolkit=toolkit)))
    assert ("toolkit-old" in found) == old


def test_what_can_t_be_read_is_said_and_not_judged(tmp_path: Path):
    (tmp_path / "daemon.json").write_text("{")
    (tmp_path / "runtime.toml").write_text("=")

    def closed() -> Firewall:
        raise Unavailable("read", "the packet filter", reason="user 995 may not")

    host = read_host(
        daemon=tmp_path / "daemon.json",
        runtime=tmp_path / "runtime.toml",
        status=tmp_path / "nowhere",
        firewall=closed,
    )
    assert (host.firewall, host.toolkit, host.upgrades, host.daemon) == (None, None, None, None)
    engine = EngineFacts(version="28.0", live_restore=True)
    report = Auditor().audit(Subjects(containers=[], facts=Facts(engine=engine, host=host)))
    assert report.findings == ()
    assert "user 995 may not" in report.unchecked["port-past-firewall"]
    assert "it is no JSON" in report.unchecked["engine-iptables"]
    assert "it is no TOML" in report.unchecked["toolkit-old"]
    assert "dpkg" in report.unchecked["driver-upgraded-unattended"]


def test_docker_s_configuration(tmp_path: Path):
    assert read_daemon(tmp_path / "none") == {}
    path = tmp_path / "daemon.json"
    path.write_text(
        json.dumps({"iptables": False, "hosts": ["tcp://0.0.0.0:2375"], "default-runtime": "nvidia"})
    )
    host = read_host(daemon=path, status=Path("/nowhere"), firewall=Firewall)
    engine = EngineFacts(version="28.0.0", live_restore=True, default_runtime="nvidia")
    found = rules(facts=Facts(engine=engine, host=host))
    assert found == {"engine-tcp", "engine-iptables", "engine-nvidia-default"}


@pytest.mark.parametrize(
    ("engine", "expected"),
    [
        (EngineFacts(version="28.0", live_restore=True), set()),
        (EngineFacts(version="28.0"), {"engine-live-restore"}),
        (EngineFacts(version="28.0", swarm=True), {"engine-swarm"}),
        (EngineFacts(version="28.0", live_restore=True, experimental=True), {"engine-experimental"}),
        (
            EngineFacts(version="28.0", live_restore=True, insecure_registries=("127.0.0.0/8", "10.0.0.0/8")),
            {"engine-insecure-registry"},
        ),
        (
            EngineFacts(version="28.0", live_restore=True, security_options=("name=apparmor", "name=userns")),
            {"engine-seccomp"},
        ),
        (
            EngineFacts(
                version="28.0",
                live_restore=True,
                security_options=("name=seccomp,profile=unconfined", "name=rootless"),
            ),
            {"engine-seccomp"},
        ),
        (
            EngineFacts(
                version="28.0", live_restore=True, security_options=("name=seccomp,profile=builtin",)
            ),
            {"engine-userns"},
        ),
        (
            EngineFacts(
                version="28.0",
                live_restore=True,
                warnings=(
                    "[DEPRECATION NOTICE]: API is accessible on http://0.0.0.0:2375 without encryption.",
                ),
            ),
            {"engine-tcp"},
        ),
    ],
)
def test_the_engine_is_judged_by_what_it_says_of_itself(engine: EngineFacts, expected: set[str]):
    assert rules(facts=Facts(engine=engine)) == expected


FILTERED = """\
-P INPUT DROP
-P FORWARD DROP
-N DOCKER
-N DOCKER-USER
-N ufw-user-input
-A DOCKER-USER -i eth0 -j DROP
-A DOCKER-USER -j RETURN
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FILTERED, Firewall("ufw", closed=True, forwards_filtered=True)),
        (FILTERED.replace("-A DOCKER-USER -i eth0 -j DROP\n", ""), Firewall("ufw", closed=True)),
        ("-P INPUT ACCEPT\n-N DOCKER-USER\n-A DOCKER-USER -j RETURN", Firewall()),
        ("-P INPUT ACCEPT\n-A INPUT -j REJECT", Firewall("iptables", closed=True)),
        ("-P INPUT ACCEPT\n-A INPUT -p tcp -j DROP", Firewall()),
        ("", Firewall()),
    ],
)
def test_a_packet_filter_as_iptables_lists_it(text: str, expected: Firewall):
    assert firewall.read_firewall(lambda: text) == expected


@given(st.lists(st.text(max_size=60)))
def test_no_list_of_rules_is_too_odd(lines: list[str]):
    firewall.parse(lines)


@given(st.text(max_size=200))
def test_no_configuration_of_apt_is_too_odd(text: str):
    apt_conf.parse([text])


LINE = "   0: {} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1 x 100 0 0 10 0"


@pytest.mark.parametrize(
    ("given", "address", "port"),
    [
        ("0100007F:1F90", "127.0.0.1", 8080),
        ("00000000:2B02", "0.0.0.0", 11010),
        ("00000000000000000000000000000000:0050", "::", 80),
        ("00000000000000000000000001000000:0050", "::1", 80),
        ("0000000000000000FFFF00000100007F:0050", "127.0.0.1", 80),
    ],
)
def test_listening_sockets_as_the_kernel_lists_them(given: str, address: str, port: int):
    assert list(sockets.parse(["  sl  local_address", LINE.format(given)])) == [Socket(address, port, 4242)]


@given(st.lists(st.text(max_size=120) | st.sampled_from([LINE.format("x:y"), LINE.format("0100007F:ZZ")])))
def test_no_list_of_sockets_is_too_odd(lines: list[str]):
    list(sockets.parse(lines))


@pytest.mark.parametrize(
    ("listener", "expected"),
    [
        (Listener("127.0.0.1", 8000, "vllm", keyless=False), set()),
        (Listener("127.0.0.1", 8000, "vllm", keyless=True), {"listener-keyless"}),
        (
            Listener("127.0.0.1", 8000, "vllm", keyless=False, open_paths=("/invocations",)),
            {"listener-path-open"},
        ),
        (Listener("0.0.0.0", 11434, "ollama", keyless=True), {"listener-open"}),
        (Listener("::", 8000, "llama.cpp", keyless=False), {"listener-reachable"}),
        (Listener("192.0.2.1", 8000, "llama.cpp"), {"listener-reachable"}),
        (Listener("::1", 8000, "llama.cpp"), set()),
    ],
)
def test_listeners_by_where_they_can_be_reached_and_their_keys(listener: Listener, expected: set[str]):
    assert rules(listeners=[listener]) == expected


def stored(folder: Path, files: dict[str, bytes]) -> StoredModel:
    found = []
    for name, content in files.items():
        (folder / name).write_bytes(content)
        found.append(StoredFile(name, str(folder / name), len(content)))
    return StoredModel(name="m", files=tuple(found))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"model.safetensors": b"x", "config.json": b"{}"}, set()),
        ({"pytorch_model.bin": b"PK\x03\x04x"}, {"model-pickle"}),
        ({"model.pt": b"\x80\x02x", "model.safetensors": b"x"}, {"model-pickle"}),
        ({"tokenizer.bin": b"no pickle"}, set()),
        ({"training_args.bin": b"PK\x03\x04"}, set()),
        ({"config.json": b'{"auto_map": {"AutoModel": "m.M"}}'}, {"model-code"}),
        ({"config.json": b"{", "x.gguf": b"GGUF"}, set()),
    ],
)
def test_models_that_bring_code(tmp_path: Path, files: dict[str, bytes], expected: set[str]):
    assert rules(models=model_facts([stored(tmp_path, files)])) == expected


def test_models_that_everybody_may_write(tmp_path: Path):
    model = stored(tmp_path, {"x.gguf": b"GGUF"})
    (tmp_path / "x.gguf").chmod(0o666)
    assert model_facts([model]) == (ModelFacts("m", str(tmp_path), safe=True, writable=("x.gguf",)),)
    assert rules(models=model_facts([model])) == {"model-writable"}
