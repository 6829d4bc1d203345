"""Rules on compose files beside those of another linter: each explains where the two differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from aiidpd.components.audit.tool import compose
from tests.fakes.compose_lint import ComposeLint, find_compose_lint

CAPABILITY: Final = "a capability"
PROFILE: Final = "a profile"
SECRET: Final = "a secret"
DEVICE: Final = "a device"
OURS: Final = {
    "engine-socket": "the socket",
    "privileged": "privileged",
    "no-new-privileges": "new privileges",
    "image-latest": "a moving image",
    "image-unpinned": "an image without digest",
    "port-everywhere": "an open port",
    "port-beyond-loopback": "an open port",
    "cap-drop-all": "capabilities kept",
    "root-writable": "a writable root",
    "network-host": "the host's network",
    "seccomp-unconfined": PROFILE,
    "apparmor-unconfined": PROFILE,
    "pid-host": "a namespace",
    "ipc-host": "a namespace",
    "uts-host": "a namespace",
    "cap-add-host": CAPABILITY,
    "cap-add-reach": CAPABILITY,
    "cap-add-other": CAPABILITY,
    "sensitive-path": "a path",
    "log-none": "no log",
    "device-host": DEVICE,
    "device-rule": DEVICE,
    "mount-shared": "a shared mount",
    "user-root": "root",
    "secret-environment": SECRET,
    "secret-argument": SECRET,
    "secret-address": "a password in an address",
    "tmpfs-loose": "a tmpfs",
    "memory-unlimited": "no limit",
    "cpu-unlimited": "no limit",
}
THEIRS: Final = {
    "CL-0001": "the socket",
    "CL-0002": "privileged",
    "CL-0003": "new privileges",
    "CL-0004": "a moving image",
    "CL-0005": "an open port",
    "CL-0006": "capabilities kept",
    "CL-0007": "a writable root",
    "CL-0008": "the host's network",
    "CL-0009": PROFILE,
    "CL-0010": "a namespace",
    "CL-0011": CAPABILITY,
    "CL-0013": "a path",
    "CL-0014": "no log",
    "CL-0016": DEVICE,
    "CL-0017": "a shared mount",
    "CL-0018": "root",
    "CL-0019": "an image without digest",
    "CL-0020": SECRET,
    "CL-0021": "a password in an address",
    "CL-0022": "a tmpfs",
    "CL-0024": CAPABILITY,
    "CL-0025": "a path",
    "CL-0026": "no limit",
    "CL-0027": CAPABILITY,
    "CL-0028": CAPABILITY,
    "CL-0029": CAPABILITY,
    "CL-0030": CAPABILITY,
}
DIGEST: Final = "a@sha256:" + "a" * 64
GOOD: Final = {
    "image": f"vllm/vllm-openai:v0.11@sha256:{'a' * 64}",
    "security_opt": ["no-new-privileges:true"],
    "cap_drop": ["ALL"],
    "read_only": True,
    "user": "1000:1000",
    "mem_limit": "1g",
    "cpus": "2",
    "pids_limit": 100,
    "restart": "on-failure:5",
    "logging": {"driver": "local"},
}
GONE: Final = object()
CHANGES: Final[dict[str, dict[str, Any]]] = {
    "good": {},
    "bare": dict.fromkeys(GOOD, GONE) | {"image": "x:1"},
    "latest": {"image": "vllm/vllm-openai:latest"},
    "untagged": {"image": "vllm/vllm-openai"},
    "tagged": {"image": "vllm/vllm-openai:v0.11"},
    "registry-port": {"image": f"localhost:5000/{DIGEST}"},
    "privileged": {"privileged": True},
    "privileged-false": {"privileged": False},
    "nnp-false": {"security_opt": ["no-new-privileges:false"]},
    "nnp-bare": {"security_opt": ["no-new-privileges"]},
    "nnp-none": {"security_opt": GONE},
    "drop-none": {"cap_drop": GONE},
    "drop-one": {"cap_drop": ["NET_RAW"]},
    "drop-lower": {"cap_drop": ["all"]},
    "add-sys-admin": {"cap_add": ["SYS_ADMIN"]},
    "add-prefixed": {"cap_add": ["CAP_NET_ADMIN"]},
    "add-ptrace": {"cap_add": ["SYS_PTRACE"]},
    "add-nice": {"cap_add": ["SYS_NICE"]},
    "add-syslog": {"cap_add": ["SYSLOG"]},
    "add-time": {"cap_add": ["SYS_TIME"]},
    "add-chown": {"cap_add": ["CHOWN"]},
    "writable": {"read_only": GONE},
    "host-network": {"network_mode": "host"},
    "pid": {"pid": "host"},
    "ipc": {"ipc": "host"},
    "uts": {"uts": "host"},
    "seccomp": {"security_opt": ["no-new-privileges:true", "seccomp:unconfined"]},
    "apparmor": {"security_opt": ["no-new-privileges:true", "apparmor=unconfined"]},
    "socket": {"volumes": ["/var/run/docker.sock:/var/run/docker.sock:ro"]},
    "socket-long": {"volumes": [{"type": "bind", "source": "/run/docker.sock", "target": "/s"}]},
    "socket-parent": {"volumes": ["/var/run:/r:ro"]},
    "etc": {"volumes": ["/etc:/e"]},
    "etc-shadow": {"volumes": ["/etc/shadow:/e:ro"]},
    "proc": {"volumes": ["/proc:/p:ro"]},
    "models": {"volumes": ["./models:/models:ro", "named:/n"]},
    "shared": {"volumes": ["./x:/x:rshared"]},
    "port": {"ports": ["8000:8000"]},
    "port-all": {"ports": ["0.0.0.0:8000:8000"]},
    "port-loopback": {"ports": ["127.0.0.1:8000:8000"]},
    "port-long": {"ports": [{"target": 80, "published": "80"}]},
    "port-long-loopback": {"ports": [{"target": 80, "published": "8080", "host_ip": "127.0.0.1"}]},
    "root": {"user": "root"},
    "root-number": {"user": "0:1000"},
    "key": {"environment": {"VLLM_API_KEY": "ohnonothing1"}},
    "key-list": {"environment": ["POSTGRES_PASSWORD=ohnonothing1"]},
    "key-variable": {"environment": {"VLLM_API_KEY": "${VLLM_API_KEY}"}},
    "key-file": {"environment": {"LLAMA_ARG_API_KEY_FILE": "/run/secrets/key"}},
    "tokens": {"environment": {"MAX_TOKENS": 4096}},
    "key-argument": {"command": ["serve", "--api-key", "ohnonothing1"]},
    "address": {"environment": {"DATABASE_URL": "postgres://u:hunter22@db/x"}},
    "tmpfs": {"tmpfs": ["/tmp:size=1m"]},
    "tmpfs-exec": {"tmpfs": ["/tmp:exec,size=1m"]},
    "no-log": {"logging": {"driver": "none"}},
    "disk": {"devices": ["/dev/sda:/dev/sda"]},
    "memory": {"devices": ["/dev/mem:/dev/mem"]},
    "no-memory-limit": {"mem_limit": GONE},
    "no-cpu-limit": {"cpus": GONE},
    "deploy-limits": {
        "mem_limit": GONE,
        "cpus": GONE,
        "deploy": {"resources": {"limits": {"memory": "1g", "cpus": "1"}}},
    },
}
DIFFERENT: Final[dict[str, tuple[set[str], set[str]]]] = {
    "uts": ({"a namespace"}, set()),  # CIS 5.21, which they leave out
    "socket-parent": ({"a path"}, set()),  # the socket is in it, and all else of the host's services too
    "memory": ({DEVICE}, set()),  # the kernel may forbid most of it (CONFIG_STRICT_DEVMEM), or not
}
"""What only we and what only they find, each with its reason beside it."""


@pytest.fixture(scope="module")
def lint(missing: Callable[[str, str], None]) -> ComposeLint:
    return find_compose_lint(missing)


def test_we_find_what_another_linter_finds_and_where_not_it_is_known_why(lint: ComposeLint, tmp_path: Path):
    services = {}
    for name, change in CHANGES.items():
        services[name] = {key: each for key, each in (GOOD | change).items() if each is not GONE}
    file = tmp_path / "compose.yaml"
    file.write_text(yaml.safe_dump({"services": services, "volumes": {"named": None}}))
    theirs = lint.find(file)
    ours: dict[str, set[str]] = {}
    for each in compose({"files": [str(file)]})["findings"]:
        ours.setdefault(each["subject"], set()).add(each["rule"])
    found = {}
    for name in CHANGES:
        mine = {OURS[rule] for rule in ours.get(name, ()) if rule in OURS}
        other = {THEIRS[rule] for rule in theirs.get(name, ())}
        if mine != other:
            found[name] = (mine - other, other - mine)
    assert found == DIFFERENT
