"""Rules on what the processes of a container may do (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, add, drop, put, rule, swap
from aiidpd.contracts.inspections import Inspection

NO_NEW_PRIVILEGES: Final = "no-new-privileges"
_TAKES_HOST: Final = frozenset(
    {"ALL", "SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "SYS_PTRACE", "DAC_READ_SEARCH", "BPF", "SYS_BOOT"}
)
_REACHES_HOST: Final = frozenset(
    {"NET_ADMIN", "SYS_TIME", "PERFMON", "SYSLOG", "MAC_ADMIN", "MAC_OVERRIDE", "CHECKPOINT_RESTORE"}
    | {"AUDIT_CONTROL", "WAKE_ALARM", "LINUX_IMMUTABLE", "SYS_PACCT", "SYS_TTY_CONFIG", "NET_BROADCAST"}
)
_USUAL: Final = frozenset(  # those that Docker gives by itself
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"}
    | {"NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)
_ROOT_GROUPS: Final = frozenset({"0", "root", "docker", "disk", "shadow", "lxd", "sudo", "wheel"})


def option(given: str) -> tuple[str, str]:
    """Return name and value of a security option, which older engines write with a colon."""
    for sign in ("=", ":"):
        name, found, value = given.partition(sign)
        if found and name.isascii() and name.replace("-", "").isalpha():
            return name, value
    return given, ""


def _options(container: Inspection, name: str) -> list[tuple[str, str]]:
    """Return the options called ``name`` as they were given, each with its value."""
    found = ((each, option(each)) for each in container.security_options)
    return [(given, value) for given, (named, value) in found if named == name]


def user_is_root(user: str) -> bool:
    """Return whether ``user`` of a container, which may have a group behind it, is root."""
    name = user.partition(":")[0].strip()
    return name in ("", "root") or (name.isascii() and name.isdigit() and not int(name))


@rule(
    "privileged",
    Level.CRITICAL,
    "The container is privileged",
    why="Its root is root of the host: every device, every capability, no seccomp, no AppArmor.",
    remedy="leave privileged out; name the devices and capabilities that it needs",
    cis="5.5",
)
def privileged(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers that are root of the host."""
    if container.privileged:
        yield Found("it is privileged", "privileged", (drop("privileged"),))


@rule(
    NO_NEW_PRIVILEGES,
    Level.MEDIUM,
    "Processes may gain privileges",
    why="A setuid program in the image makes root of any user, so that one fault in the engine is enough.",
    remedy="set the security option no-new-privileges:true",
    cis="5.26",
)
def no_new_privileges(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers in which setuid programs work. Only the value true, or none, forbids it."""
    given = _options(container, NO_NEW_PRIVILEGES)
    if any(value.strip().lower() in ("", "true", "1", "t") for _, value in given):
        return
    if not given and facts.daemon.get(NO_NEW_PRIVILEGES) is True:
        return
    wanted = f"{NO_NEW_PRIVILEGES}:true"
    if given:
        edits = tuple(swap("security_opt", each, wanted) for each, _ in given[:1])
        yield Found(f"{NO_NEW_PRIVILEGES} is switched off: {given[0][0]}", "security_opt", edits)
    else:
        yield Found("its processes may gain privileges", "security_opt", (add("security_opt", wanted),))


@rule(
    "cap-drop-all",
    Level.MEDIUM,
    "Not all capabilities are dropped",
    why="Docker gives fourteen capabilities to a container; an inference server needs none of them.",
    remedy="drop ALL, and add back the ones that it needs",
    cis="5.4",
)
def cap_drop_all(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers that still have the usual capabilities."""
    if "ALL" not in container.cap_drop:
        dropped = ", ".join(container.cap_drop)
        what = f"it drops {dropped} alone" if dropped else "it drops no capability"
        yield Found(what, "cap_drop", (put("cap_drop", ("ALL",)),))


@rule(
    "cap-add-host",
    Level.HIGH,
    "A capability that takes over the host",
    why="With one of these a process leaves its container: it mounts, loads modules, reads any file.",
    remedy="leave the capability out",
    cis="5.4",
)
def cap_add_host(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find capabilities with which a process leaves its container."""
    for each in sorted(_TAKES_HOST.intersection(container.cap_add)):
        level = Level.CRITICAL if each in ("ALL", "SYS_ADMIN", "SYS_MODULE") else None
        yield Found(f"it has {each}", "cap_add", (swap("cap_add", each, None),), severity=level)


@rule(
    "cap-add-reach",
    Level.MEDIUM,
    "A capability that reaches the host",
    why="It changes the network, the time or the logs of the host, or reads its kernel.",
    remedy="leave the capability out",
    cis="5.4",
)
def cap_add_reach(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find capabilities that act beyond the container."""
    for each in sorted(_REACHES_HOST.intersection(container.cap_add)):
        yield Found(f"it has {each}", "cap_add", (swap("cap_add", each, None),))


@rule(
    "cap-add-other",
    Level.LOW,
    "A capability beyond the usual ones",
    why="Each capability is one more way for a fault to become harm.",
    remedy="see whether it works without",
    cis="5.4",
)
def cap_add_other(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find what Docker would not give by itself."""
    known = _TAKES_HOST | _REACHES_HOST | _USUAL
    for each in sorted(set(container.cap_add) - known):
        yield Found(f"it has {each}", "cap_add", (swap("cap_add", each, None),))


@rule(
    "user-root",
    Level.MEDIUM,
    "Processes run as root",
    why="Root in a container owns the files that it mounts, and is one kernel fault away from the host.",
    remedy="run it as a user of its own that owns the files it writes",
    cis="4.1",
)
def user_root(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers whose first process is root. A user namespace of the engine makes that another user."""
    if container.user is None or not user_is_root(container.user):
        return
    remapped = facts.engine is not None and facts.engine.options & {"userns", "rootless"}
    if remapped and container.userns_mode != "host":
        return
    yield Found("it runs as root", "user", (put("user", "1000:1000"),), guess=True)


@rule(
    "group-root",
    Level.MEDIUM,
    "Processes belong to a group that is root by another name",
    why="Members of these groups reach the engine's socket, disks or passwords where such are mounted.",
    remedy="leave the group out",
)
def group_root(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find supplementary groups that give root's files."""
    for each in container.group_add:
        if each in _ROOT_GROUPS:
            yield Found(f"it is in the group {each}", "group_add", (swap("group_add", each, None),))


@rule(
    "seccomp-unconfined",
    Level.HIGH,
    "System calls are not filtered",
    why="The default profile blocks some forty calls that containers were escaped with.",
    remedy="leave seccomp=unconfined out",
    cis="5.22",
)
def seccomp_unconfined(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers without a seccomp profile."""
    for given, value in _options(container, "seccomp"):
        if value == "unconfined":
            yield Found("seccomp is unconfined", "security_opt", (swap("security_opt", given, None),))


@rule(
    "apparmor-unconfined",
    Level.HIGH,
    "AppArmor does not confine it",
    why="The default profile denies writes to /proc and /sys and mounts, also where seccomp lets them pass.",
    remedy="leave apparmor=unconfined out",
    cis="5.2",
)
def apparmor_unconfined(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find containers without a profile, where the kernel has AppArmor or the container refuses it."""
    given = [each for each, value in _options(container, "apparmor") if value == "unconfined"]
    if given:
        edits = (swap("security_opt", given[0], None),)
        yield Found("AppArmor is unconfined", "security_opt", edits)
        return
    has = facts.engine is not None and "apparmor" in facts.engine.options
    if has and container.running and container.apparmor_profile in ("", "unconfined"):  # set at its start
        yield Found("it has no AppArmor profile", "security_opt")


@rule(
    "selinux-disabled",
    Level.MEDIUM,
    "SELinux labels are switched off",
    why="Without its label the container may touch every file that its user may.",
    remedy="leave label=disable out",
    cis="5.3",
)
def selinux_disabled(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers that refuse their SELinux label. With the host's processes or memory Docker does so."""
    if not container.declared and "host" in (container.pid_mode, container.ipc_mode):
        return
    for given, value in _options(container, "label"):
        if value in ("disable", "disabled"):
            yield Found("its label is disabled", "security_opt", (swap("security_opt", given, None),))


@rule(
    "system-paths",
    Level.HIGH,
    "Kernel files are not hidden",
    why="/proc/kcore, /proc/sys and /sys/firmware can be read or written as on the host.",
    remedy="leave systempaths=unconfined out",
)
def system_paths(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers whose paths of the kernel are neither masked nor read-only."""
    given = [each for each, value in _options(container, "systempaths") if value == "unconfined"]
    if given or not (container.masked or container.privileged):
        edits = tuple(swap("security_opt", each, None) for each in given)
        yield Found("paths of the kernel are not masked", "security_opt", edits)


RULES: Final = (
    privileged,
    no_new_privileges,
    cap_drop_all,
    cap_add_host,
    cap_add_reach,
    cap_add_other,
    user_root,
    group_root,
    seccomp_unconfined,
    apparmor_unconfined,
    selinux_disabled,
    system_paths,
)
