"""Rules on files, folders and devices of the host in a container, and on its own (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.paths import engine_socket, made_for_containers, normal, sensitive, within
from aiidpd.components.audit.rule import Found, Level, put, rule, swap
from aiidpd.components.audit.rules.privileges import user_is_root
from aiidpd.contracts.inspections import HostMount, Inspection

_LOOSE: Final = ("exec", "suid", "dev")
_DISKS: Final = (
    "/dev/sd",
    "/dev/nvme",
    "/dev/vd",
    "/dev/xvd",
    "/dev/dm-",
    "/dev/md",
    "/dev/mapper",
    "/dev/loop",
)
_MEMORY: Final = frozenset({"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/msr", "/dev/cpu"})
_GPUS: Final = ("/dev/nvidia", "/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/infiniband", "/dev/gdrdrv")


def host_path(mount: HostMount) -> str:
    """Return the path of the host that ``mount`` shows, empty for a volume that the engine made."""
    return mount.source if mount.kind == "bind" else mount.device


def entry(mount: HostMount) -> str:
    """Return ``mount`` as people write it."""
    return f"{mount.source}:{mount.destination}{':ro' if mount.read_only else ''}"


@rule(
    "engine-socket",
    Level.CRITICAL,
    "It has the socket of a container engine",
    why="Whoever speaks to the engine starts a privileged container: root of the host, read-only or not.",
    remedy="take the mount out; where it must see containers, let a proxy in between allow reading alone",
    cis="5.32",
)
def engine_socket_mounted(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find sockets of engines, mounted themselves or in a folder above them."""
    for mount in container.mounts:
        path = host_path(mount)
        found = engine_socket(path)
        if found:
            way = "" if normal(path) == found else f", in which {found} lies"
            edits = (swap("volumes", mount.source, None),)
            yield Found(f"it has {entry(mount)}{way}", "volumes", edits)


@rule(
    "sensitive-path",
    Level.HIGH,
    "It has a folder of the host's system",
    why="Files there configure the host or hold its secrets: written, they run as root there.",
    remedy="mount the one folder that it needs, read-only",
    cis="5.6",
)
def sensitive_path(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find mounts of system folders; those that are read-only show secrets alone.

    A file of keys that aiidpd made is what its server needs, and metrics of aiidpd what their reader does.
    """
    root = container.user is None or user_is_root(container.user)
    for mount in container.mounts:
        path = host_path(mount)
        if mount.read_only and made_for_containers(path, root=root):
            continue
        if sensitive(path):
            level = Level.MEDIUM if mount.read_only and normal(path) not in ("/", "/proc", "/sys") else None
            edits = (swap("volumes", mount.source, None),)
            yield Found(f"it has {entry(mount)}", "volumes", edits, guess=True, severity=level)


@rule(
    "mount-shared",
    Level.MEDIUM,
    "Its mounts reach the host",
    why="What is mounted there inside appears on the host as well.",
    remedy="leave the propagation out: rprivate",
    cis="5.20",
)
def mount_shared(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find mounts with shared propagation."""
    for mount in container.mounts:
        if mount.propagation in ("shared", "rshared"):
            yield Found(f"{entry(mount)} is {mount.propagation}", "volumes", guess=True)


@rule(
    "root-writable",
    Level.LOW,
    "Its own files can be written",
    why="Whoever breaks in changes programs, and they run again at the next request.",
    remedy="make its root read-only, with a tmpfs where it writes",
    cis="5.13",
)
def root_writable(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers whose root is writable."""
    if not container.read_only:
        yield Found("its root is writable", "read_only", (put("read_only", True),))


@rule(
    "tmpfs-loose",
    Level.MEDIUM,
    "A tmpfs on which programs run",
    why="A read-only root is of no use where programs can be brought to a tmpfs; Docker forbids that.",
    remedy="leave exec, suid and dev out of its options",
)
def tmpfs_loose(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find tmpfs mounts on which the engine's own restrictions were lifted."""
    for each in container.tmpfs:
        loose = [name for name in _LOOSE if name in each.options and f"no{name}" not in each.options]
        if loose:
            kept = [part for part in each.options if part not in _LOOSE]
            given = ":".join((each.destination, ",".join(each.options)))
            wanted = ":".join(filter(None, (each.destination, ",".join(kept))))
            edits = (swap("tmpfs", given, wanted),)
            yield Found(f"the tmpfs {each.destination} has {', '.join(loose)}", "tmpfs", edits)


@rule(
    "tmpfs-unbounded",
    Level.LOW,
    "A tmpfs without a size",
    why="It takes half of the host's memory where the container has no limit of its own.",
    remedy="give it a size",
)
def tmpfs_unbounded(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find tmpfs mounts without a size."""
    for each in container.tmpfs:
        if each.size_bytes is None:
            given = ":".join(filter(None, (each.destination, ",".join(each.options))))
            wanted = f"{each.destination}:{','.join((*each.options, 'size=64m'))}"
            edits = (swap("tmpfs", given, wanted),)
            yield Found(f"the tmpfs {each.destination} has no size", "tmpfs", edits, guess=True)


@rule(
    "device-host",
    Level.MEDIUM,
    "It has a device of the host",
    why="A disk or the memory as a device is every file or secret of the host.",
    remedy="leave the device out; GPUs come by a reservation",
    cis="5.18",
)
def device_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find devices other than GPUs; disks and memory are the host itself."""
    for each in container.devices:
        path = normal(each.host)
        if path.startswith(_GPUS):
            continue
        whole = path in ("/dev", "/") or path in _MEMORY or path.startswith(_DISKS)
        level = Level.CRITICAL if whole else None
        yield Found(
            f"it has the device {each.host}", "devices", (swap("devices", each.host, None),), severity=level
        )


@rule(
    "device-rule",
    Level.HIGH,
    "It may make devices of its own",
    why="With a rule for all devices and mknod it reads the host's disk.",
    remedy="name the devices that it needs, and no rule",
    cis="5.18",
)
def device_rule(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find rules that allow devices by number; those for one driver are lighter."""
    for each in container.device_rules:
        parts = each.split()
        numbers = parts[1] if len(parts) > 1 else "*"
        broad = parts[:1] == ["a"] or numbers.startswith("*")
        level = None if broad else Level.LOW
        edits = (swap("device_cgroup_rules", each, None),)
        yield Found(f"its rule for devices is {each}", "device_cgroup_rules", edits, severity=level)


@rule(
    "models-writable",
    Level.LOW,
    "It may write the models",
    why="Whoever breaks into the engine leaves other weights behind, which all load from then on.",
    remedy="mount the models read-only",
)
def models_writable(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find writable mounts in which models of this machine lie."""
    for mount in container.mounts:
        path = normal(host_path(mount))
        if not path or mount.read_only:
            continue
        if any(within(normal(each), path) for each in facts.model_folders):
            edits = (swap("volumes", mount.source, f"{mount.source}:{mount.destination}:ro"),)
            yield Found(f"it may write the models in {entry(mount)}", "volumes", edits)


RULES: Final = (
    engine_socket_mounted,
    sensitive_path,
    mount_shared,
    root_writable,
    tmpfs_loose,
    tmpfs_unbounded,
    device_host,
    device_rule,
    models_writable,
)
