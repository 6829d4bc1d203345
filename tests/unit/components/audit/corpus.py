"""The mutation corpus: each rule about containers with what breaks it, and with what is close and does not.

A case is options of `docker run` (so that a container can really be created so), or changes of the engine's
JSON where this machine refuses such a container. The base violates no rule.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

DIGEST = "sha256:" + "a" * 64
NETWORK = "--network=none"
HARDENED = (
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--user=1000:1000",
    "--read-only",
    "--memory=64m",
    "--cpus=1",
    "--pids-limit=64",
    "--restart=no",
    "--log-opt=max-size=1m",
    "--health-cmd=true",
    "--health-interval=1h",
)
"""Options of a container in which no rule finds anything, but that its image is not pinned."""


@dataclass(frozen=True)
class Case:
    """One container: ``without`` are hardened options that it lacks, ``options`` further ones.

    ``rules`` are what is found beside the base. ``change`` is laid over the engine's JSON, for what can't be
    created here.
    """

    name: str
    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    rules: frozenset[str] = frozenset()
    command: tuple[str, ...] = ("sleep", "600")
    change: dict[str, Any] = field(default_factory=dict)
    network: str = NETWORK
    real: bool = True

    def arguments(self) -> list[str]:
        """Return the options of `docker create`."""
        left = [each for each in HARDENED if each.partition("=")[0] not in self.without]
        return [*left, self.network, *self.options]


def case(name: str, *rules: str, options: tuple[str, ...] = (), **more: Any) -> Case:
    return Case(name, options, rules=frozenset(rules), **more)


def mounted(name: str, source: str, *rules: str, writable: bool = False, user: str = "1000:1000") -> Case:
    """Return a container that has ``source``, which not every machine has."""
    mount = {"Type": "bind", "Source": source, "Destination": "/d", "RW": writable}
    change = {"Mounts": [mount], "Config": {"User": user}}
    return Case(name, rules=frozenset(rules), change=change, real=False)


CASES = (
    case("hardened"),
    # privileges
    case("privileged", "privileged", change={"HostConfig": {"Privileged": True}}, real=False),
    case("new-privileges", "no-new-privileges", without=("--security-opt",)),
    case(
        "new-privileges-false",  # docker-bench-security 5.26 passes it
        "no-new-privileges",
        without=("--security-opt",),
        options=("--security-opt=no-new-privileges:false",),
    ),
    case(
        "no-new-privileges-bare", without=("--security-opt",), options=("--security-opt=no-new-privileges",)
    ),
    case(
        "no-new-privileges-equals",
        without=("--security-opt",),
        options=("--security-opt=no-new-privileges=true",),
    ),
    case("caps-kept", "cap-drop-all", without=("--cap-drop",)),  # docker-bench-security 5.4 passes it
    case("one-cap-dropped", "cap-drop-all", without=("--cap-drop",), options=("--cap-drop=NET_RAW",)),
    case("caps-lower-case", without=("--cap-drop",), options=("--cap-drop=all",)),
    case("sys-admin", "cap-add-host", options=("--cap-add=SYS_ADMIN",)),
    case("sys-admin-prefixed", "cap-add-host", options=("--cap-add=cap_sys_admin",)),
    case("all-caps", "cap-add-host", options=("--cap-add=ALL",)),
    case("net-admin", "cap-add-reach", options=("--cap-add=NET_ADMIN",)),
    case("ipc-lock", "cap-add-other", options=("--cap-add=IPC_LOCK",)),
    case("net-bind", options=("--cap-add=NET_BIND_SERVICE",)),
    case("root", "user-root", without=("--user",)),
    case("root-by-name", "user-root", without=("--user",), options=("--user=root:1000",)),
    case("root-by-number", "user-root", without=("--user",), options=("--user=0",)),
    case("nobody", without=("--user",), options=("--user=65534",)),
    case("group-docker", "group-root", options=("--group-add=0",)),
    case("group-video", options=("--group-add=44",)),
    case("seccomp", "seccomp-unconfined", options=("--security-opt=seccomp=unconfined",)),
    case("seccomp-colon", "seccomp-unconfined", options=("--security-opt=seccomp:unconfined",)),
    case("apparmor", "apparmor-unconfined", options=("--security-opt=apparmor=unconfined",)),
    case("label", "selinux-disabled", options=("--security-opt=label=disable",)),
    case("systempaths", "system-paths", options=("--security-opt=systempaths=unconfined",)),
    # namespaces
    case("pid", "pid-host", options=("--pid=host",)),
    case("ipc", "ipc-host", options=("--ipc=host",)),
    case("ipc-private", options=("--ipc=private",)),
    case("uts", "uts-host", options=("--uts=host",)),
    case("network", "network-host", network="--network=host"),
    case("userns", "userns-host", options=("--userns=host",)),
    case("cgroup-parent", "cgroup-parent", options=("--cgroup-parent=/audit-test",)),
    case(
        "namespace-of-another",
        "namespace-of-another",
        change={"HostConfig": {"PidMode": f"container:{'b' * 64}"}},
        real=False,
    ),
    # files
    case("socket", "engine-socket", options=("--volume=/var/run/docker.sock:/var/run/docker.sock:ro",)),
    case("socket-elsewhere", "engine-socket", options=("--volume=/var/run/docker.sock:/tmp/x",)),
    case("socket-folder", "engine-socket", "sensitive-path", options=("--volume=/run:/host/run:ro",)),
    case("socket-dots", "engine-socket", options=("--volume=/tmp/../run/docker.sock:/s:ro",)),
    case("root-folder", "engine-socket", "sensitive-path", options=("--volume=/:/host:ro",)),
    case("etc", "sensitive-path", options=("--volume=/etc:/host/etc:ro",)),
    case("proc", "sensitive-path", options=("--volume=/proc:/host/proc:ro",)),
    mounted("keys", "/etc/aiidpd/secrets/LLAMACPP_API_KEY.keys"),
    mounted("keys-yaml", "/etc/aiidpd/secrets/VLLM_API_KEY.yaml"),
    mounted("keys-writable", "/etc/aiidpd/secrets/VLLM_API_KEY.yaml", "sensitive-path", writable=True),
    mounted("keys-registry", "/etc/aiidpd/secrets/registry.json", "sensitive-path"),
    mounted("keys-all", "/etc/aiidpd/secrets", "sensitive-path"),
    mounted("keys-deeper", "/etc/aiidpd/secrets/x/a.key", "sensitive-path"),
    mounted("aiidpd", "/etc/aiidpd", "sensitive-path"),
    mounted("metrics", "/run/aiidpd"),
    mounted("metrics-socket", "/run/aiidpd/metrics.sock"),
    mounted("metrics-writable", "/run/aiidpd", "sensitive-path", writable=True),
    mounted("metrics-root", "/run/aiidpd", "sensitive-path", "user-root", user="0:1000"),
    mounted("control-socket", "/run/aiidpd/control.sock", "sensitive-path"),
    case("timezone", options=("--volume=/etc/timezone:/etc/timezone:ro",)),
    case("tmp", options=("--volume=/tmp:/data",)),
    case("a-volume", options=("--volume=/data",)),
    case(
        "shared",
        "mount-shared",
        change={
            "Mounts": [{"Type": "bind", "Source": "/srv", "Destination": "/d", "Propagation": "rshared"}]
        },
        real=False,
    ),
    case("writable", "root-writable", without=("--read-only",)),
    case("tmpfs", options=("--tmpfs=/tmp:size=1m",)),
    case("tmpfs-exec", "tmpfs-loose", options=("--tmpfs=/tmp:exec,size=1m",)),
    case("tmpfs-noexec", options=("--tmpfs=/tmp:noexec,nosuid,nodev,size=1m",)),
    case("tmpfs-endless", "tmpfs-unbounded", options=("--tmpfs=/tmp",)),
    case("mounted-tmpfs", options=("--mount=type=tmpfs,destination=/tmp,tmpfs-size=1048576",)),
    case("device", "device-host", options=("--device=/dev/fuse",)),
    case("device-zero", "device-host", options=("--device=/dev/zero:/dev/x",)),
    case("device-rule", "device-rule", options=("--device-cgroup-rule=c 189:* rmw",)),
    case("device-rule-all", "device-rule", options=("--device-cgroup-rule=a *:* rwm",)),
    # network
    case(
        "open-port",
        "port-everywhere",
        "default-bridge",
        network="--network=bridge",
        options=("--publish=80",),
    ),
    case(
        "loopback-port",
        "port-loopback-leak",
        "default-bridge",
        network="--network=bridge",
        options=("--publish=127.0.0.1::80",),
    ),
    case(
        "loopback-port-new-engine",
        change={"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]}}},
        real=False,
    ),
    case(
        "one-address",
        "port-beyond-loopback",
        change={"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "192.0.2.1", "HostPort": "8080"}]}}},
        real=False,
    ),
    case(
        "low-port",
        "port-privileged",
        change={"HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "::1", "HostPort": "443"}]}}},
        real=False,
    ),
    case("all-ports", "ports-all", "default-bridge", network="--network=bridge", options=("--publish-all",)),
    case("bridge", "default-bridge", network="--network=bridge"),
    case("ssh", "ssh-server", command=("/usr/sbin/sshd", "-D")),
    # limits
    case("memory", "memory-unlimited", without=("--memory",)),
    case("cpus", "cpu-unlimited", without=("--cpus",)),
    case("cpu-shares", without=("--cpus",), options=("--cpu-shares=512",)),
    case("cpuset", without=("--cpus",), options=("--cpuset-cpus=0",)),
    case("pids", "pids-unlimited", without=("--pids-limit",)),
    case("pids-minus", "pids-unlimited", without=("--pids-limit",), options=("--pids-limit=-1",)),
    case(
        "restart-always",  # docker-bench-security 5.15 passes it
        "restart-unbounded",
        without=("--restart",),
        options=("--restart=always",),
    ),
    case(
        "restart-unless-stopped",
        "restart-unbounded",
        without=("--restart",),
        options=("--restart=unless-stopped",),
    ),
    case(
        "restart-on-failure", "restart-unbounded", without=("--restart",), options=("--restart=on-failure",)
    ),
    case("restart-ten", "restart-unbounded", without=("--restart",), options=("--restart=on-failure:10",)),
    case("restart-five", without=("--restart",), options=("--restart=on-failure:5",)),
    case("log", "log-unbounded", without=("--log-opt",)),
    case("log-local", without=("--log-opt",), options=("--log-driver=local",)),
    case("log-none", "log-none", without=("--log-opt",), options=("--log-driver=none",)),
    case("health", "health-unchecked", without=("--health-cmd", "--health-interval")),
    case(
        "no-health",
        "health-unchecked",
        without=("--health-cmd", "--health-interval"),
        options=("--no-healthcheck",),
    ),
    case("ulimit", "ulimit-unbounded", options=("--ulimit=nofile=10000000:10000000",)),
    case("ulimit-number", options=("--ulimit=nofile=1024:4096",)),
    case("ulimit-memlock", options=("--ulimit=memlock=-1:-1",)),
    case("oom-spared", "oom-spared", options=("--oom-score-adj=-900",)),
    case("oom-adjusted", options=("--oom-score-adj=100",)),
    case("oom-kill", "oom-spared", change={"HostConfig": {"OomKillDisable": True}}, real=False),
    # secrets
    case("key", "secret-environment", options=("--env=VLLM_API_KEY=ohnonothing1",)),
    case("key-by-shape", "secret-environment", options=("--env=THING=hf_abcdefghijklmnopqrstuvwx",)),
    case("key-file", options=("--env=LLAMA_ARG_API_KEY_FILE=/run/secrets/key",)),
    case("token-count", options=("--env=MAX_TOKENS=4096", "--env=TOKEN_TTL=30m")),
    case("public-key", options=("--env=GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D",)),
    case("no-key", options=("--env=API_KEY=",)),
    case("key-argument", "secret-argument", command=("sleep", "--api-key", "ohnonothing1")),
    case("key-argument-equals", "secret-argument", command=("sleep", "--api-key=ohnonothing1")),
    case("key-argument-file", command=("sleep", "--api-key-file", "/run/secrets/key")),
    case("key-label", "secret-label", options=("--label=my.password=ohnonothing1",)),
    case("label-plain", options=("--label=maintainer=somebody",)),
    case("address", "secret-address", options=("--env=DATABASE_URL=postgres://u:hunter22@db/x",)),
    case("address-plain", options=("--env=DATABASE_URL=postgres://db/x",)),
    # gpu
    case(
        "gpu-device",
        "gpu-devices",
        change={"HostConfig": {"Devices": [{"PathOnHost": "/dev/nvidia0", "CgroupPermissions": "rwm"}]}},
        real=False,
    ),
    case(
        "gpu-request",
        change={
            "HostConfig": {"DeviceRequests": [{"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu"]]}]}
        },
        real=False,
    ),
    case(
        "gpu-all",
        "gpu-every",
        change={
            "HostConfig": {"DeviceRequests": [{"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu"]]}]}
        },
        real=False,
    ),
    case(
        "gpu-graphics",
        "gpu-capabilities",
        change={
            "HostConfig": {
                "DeviceRequests": [{"Driver": "nvidia", "Count": 1, "Capabilities": [["gpu", "graphics"]]}]
            }
        },
        real=False,
    ),
    # models
    case("trust", "trust-remote-code", command=("sleep", "--model", "x", "--trust-remote-code")),
    case("no-trust", command=("sleep", "--trust-remote-code=false")),
    # images
    case("pinned", change={"Config": {"Image": f"vllm/vllm-openai:v0.11.0@{DIGEST}"}}, real=False),
    case("latest", "image-latest", change={"Config": {"Image": "vllm/vllm-openai:latest"}}, real=False),
    case("no-tag", "image-latest", change={"Config": {"Image": "localhost:5000/vllm"}}, real=False),
    case("tag", "image-unpinned", change={"Config": {"Image": "vllm/vllm-openai:v0.11.0"}}, real=False),
    case("id", change={"Config": {"Image": DIGEST}}, real=False),
)


def inspected() -> dict[str, Any]:
    """Return what the engine says of the hardened container, with an image that is pinned."""
    return copy.deepcopy(_INSPECTED)


def laid_over(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return ``base`` with ``change`` laid over it, map by map."""
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            laid_over(base[key], value)
        else:
            base[key] = value
    return base


_INSPECTED = {
    "Id": "c" * 64,
    "Name": "/corpus",
    "Path": "sleep",
    "Args": ["600"],
    "AppArmorProfile": "",
    "State": {
        "Status": "running",
        "ExitCode": 0,
        "StartedAt": "2026-11-23T01:49:05.434830936Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    },
    "Config": {
        "Image": f"llama:1@{DIGEST}",
        "User": "1000:1000",
        "Env": ["PATH=/bin"],
        "Labels": {},
        "Healthcheck": {"Test": ["CMD-SHELL", "true"]},
    },
    "HostConfig": {
        "Privileged": False,
        "CapAdd": None,
        "CapDrop": ["ALL"],
        "SecurityOpt": ["no-new-privileges:true"],
        "ReadonlyRootfs": True,
        "Memory": 67108864,
        "NanoCpus": 1000000000,
        "PidsLimit": 64,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}},
        "NetworkMode": "none",
        "IpcMode": "private",
        "MaskedPaths": ["/proc/kcore"],
        "PortBindings": {},
        "Tmpfs": None,
        "Devices": [],
        "DeviceRequests": None,
        "Ulimits": [],
    },
    "Mounts": [],
    "NetworkSettings": {"Ports": {}, "Networks": {"none": {"IPAddress": ""}}},
}
