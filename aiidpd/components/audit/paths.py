"""Paths of the host that a container must not have (pure)."""

from __future__ import annotations

import posixpath
import re
from typing import Final

_SOCKETS: Final = (
    *("/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock"),
    *("/run/crio/crio.sock", "/run/docker/containerd/containerd.sock", "/run/k3s/containerd/containerd.sock"),
    *("/run/buildkit/buildkitd.sock", "/run/cri-dockerd.sock"),
)
_OF_A_USER: Final = re.compile(r"/run/user/\d{1,10}(/docker\.sock|/podman(/podman\.sock)?)?", re.ASCII)
# What containers are commonly and harmlessly given of these.
_HARMLESS: Final = frozenset(
    {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/log"}
)
_WHOLE: Final = frozenset(
    {
        "/",
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/home",
        "/lib",
        "/lib64",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
    }
    | {"/usr", "/var", "/var/lib", "/var/log", "/usr/lib", "/usr/local", "/usr/share"}
)
"""Folders that are sensitive as a whole; of what lies in them only the next ones are."""
_TREES: Final = (
    *("/boot", "/dev", "/proc", "/sys", "/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin"),
    *("/usr/local/sbin", "/usr/lib/systemd", "/lib/systemd", "/lib/modules", "/usr/lib/modules"),
    *("/etc/shadow", "/etc/gshadow", "/etc/passwd", "/etc/group", "/etc/sudoers", "/etc/sudoers.d"),
    *("/etc/ssh", "/etc/pam.d", "/etc/cron.d", "/etc/crontab", "/etc/cron.daily", "/etc/cron.hourly"),
    *("/etc/systemd", "/etc/docker", "/etc/kubernetes", "/etc/ld.so.preload", "/etc/profile.d"),
    *("/etc/ssl/private", "/etc/security", "/etc/init.d", "/etc/apt", "/etc/aiidpd"),
    *("/var/lib/docker", "/var/lib/containerd", "/var/lib/containers", "/var/lib/kubelet", "/var/lib/aiidpd"),
    *("/var/lib/systemd", "/var/lib/dpkg", "/var/spool/cron", "/run/systemd", "/run/dbus", "/run/secrets"),
    *("/run/aiidpd", "/run/udev", "/run/libvirt"),
    *("/root/.ssh", "/root/.docker", "/root/.kube", "/root/.aws", "/root/.gnupg"),
)
_PRIVATE: Final = re.compile(r"/home/[^/]+(/\.(ssh|docker|kube|aws|gnupg)(/.*)?)?")
# What aiidpd makes for containers: a file of keys, mounted alone, and the folder of its sockets. Of these the
# metrics are for a group that may read them, and the control is closed but to root and a group of its own.
_KEYS: Final = re.compile(r"/etc/aiidpd/secrets/[A-Za-z][A-Za-z0-9_-]{0,63}\.(key|keys|yaml)", re.ASCII)
_SOCKETS_OF_AIIDPD: Final = frozenset({"/run/aiidpd", "/run/aiidpd/metrics.sock"})
_LINKS: Final = (("/var/run", "/run"), ("/var/lock", "/run/lock"))


def normal(path: str) -> str:
    """Return ``path`` without ``..``, double slashes and the usual links; empty for what is no path."""
    if not path.startswith("/"):
        return ""
    found = posixpath.normpath(path)
    found = found[1:] if found.startswith("//") else found
    for link, target in _LINKS:
        if within(found, link):
            found = target + found[len(link) :]
    return found


def within(path: str, folder: str) -> bool:
    """Return whether ``path`` is ``folder`` or lies in it; both are normal."""
    return folder in (path, "/") or path.startswith(f"{folder}/")


def engine_socket(path: str) -> str:
    """Return the socket of a container engine that whoever has ``path`` of the host has; empty for none."""
    found = normal(path)
    if not found:
        return ""
    for each in _SOCKETS:
        if within(each, found):
            return each
    if found == "/run/user" or _OF_A_USER.fullmatch(found):
        return "/run/user/UID/docker.sock" if not found.endswith(".sock") else found
    return found if found.endswith(("/docker.sock", "/podman.sock", "/containerd.sock")) else ""


def sensitive(path: str) -> bool:
    """Return whether ``path`` of the host is one that no container needs."""
    found = normal(path)
    if not found or found in _HARMLESS:
        return False
    return (
        found in _WHOLE
        or _PRIVATE.fullmatch(found) is not None
        or any(within(found, each) for each in _TREES)
    )


def made_for_containers(path: str, *, root: bool) -> bool:
    """Return whether ``path`` of the host is one that aiidpd makes for containers to read.

    ``root``: the container's first process is root, to whom aiidpd's control socket would be open.
    """
    found = normal(path)
    return _KEYS.fullmatch(found) is not None or (not root and found in _SOCKETS_OF_AIIDPD)
