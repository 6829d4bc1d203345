"""Rules on what a container may take of the machine, and on how it ends and starts again (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts
from aiidpd.components.audit.rule import Found, Level, drop, put, rule
from aiidpd.contracts.inspections import Inspection

_MOST_RESTARTS: Final = 5
_UNBOUNDED: Final = frozenset({"json-file"})  # drivers that write for ever unless told otherwise
_MOST_FILES: Final = 1_048_576
_COUNTED: Final = frozenset({"nofile", "nproc"})
_SPARED: Final = -500


@rule(
    "memory-unlimited",
    Level.MEDIUM,
    "It may take all of the memory",
    why="When the memory is used up, the kernel ends what it likes: the other engine, or this daemon.",
    remedy="give it a limit: the model's size in RAM and a reserve, as `aiidpctl physics capacity` has it",
    cis="5.11",
)
def memory_unlimited(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers without a limit of memory."""
    if not container.memory_bytes:
        yield Found("its memory has no limit", "mem_limit", (put("mem_limit", "16g"),), guess=True)


@rule(
    "cpu-unlimited",
    Level.LOW,
    "It may take all of the processors",
    why="An engine that computes on processors starves whatever else runs, this daemon among it.",
    remedy="give it a number of processors, or shares",
    cis="5.12",
)
def cpu_unlimited(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers without a limit or shares of processors."""
    if not container.cpu_limited:
        yield Found("its processors have no limit", "cpus", (put("cpus", "4"),), guess=True)


@rule(
    "pids-unlimited",
    Level.MEDIUM,
    "It may start any number of processes",
    why="A fork bomb in one container stops the whole machine.",
    remedy="give it a limit of processes",
    cis="5.29",
)
def pids_unlimited(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers without a limit of processes."""
    if container.pids_limit is None:
        yield Found("its processes have no limit", "pids_limit", (put("pids_limit", 1024),))


@rule(
    "restart-unbounded",
    Level.LOW,
    "It is restarted for ever",
    why="An engine that dies while it loads is loaded again and again, which hides the fault and wears the "
    "disk. Docker's own patience begins anew after ten seconds.",
    remedy="restart it on failure, five times at most; aiidpd heals with a budget",
    cis="5.15",
)
def restart_unbounded(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find restart policies without an end."""
    name, most = container.restart, container.restart_maximum
    if name in ("", "no") or (name == "on-failure" and 0 < most <= _MOST_RESTARTS):
        return
    if name == "on-failure":
        what = f"it is restarted {most} times" if most else "it is restarted without a bound"
    else:
        what = f"its restart policy is {name}"
    yield Found(what, "restart", (put("restart", f"on-failure:{_MOST_RESTARTS}"),))


@rule(
    "log-unbounded",
    Level.LOW,
    "Its log grows without end",
    why="Engines log each request; a full disk stops them all.",
    remedy="bound size and number of its files",
)
def log_unbounded(container: Inspection, facts: Facts) -> Iterator[Found]:
    """Find logs that nothing rotates."""
    driver = container.log_driver or str(facts.daemon.get("log-driver") or "json-file")
    options = dict(container.log_options)
    if container.declared and not container.log_driver:
        given = facts.daemon.get("log-opts")
        options = {**(given if isinstance(given, dict) else {}), **options}
    if driver in _UNBOUNDED and not options.get("max-size"):
        edits = [put("logging.options.max-size", "10m"), put("logging.options.max-file", "3")]
        if container.declared and not container.log_driver:
            edits = [put("logging.driver", driver), *edits]
        yield Found("its log has no bound", "logging", tuple(edits))


@rule(
    "log-none",
    Level.MEDIUM,
    "It has no log",
    why="After a break-in, or a crash, nothing says what happened.",
    remedy="leave the driver none out",
)
def log_none(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers whose output is thrown away."""
    if container.log_driver == "none":
        edits = (put("logging.driver", "json-file"), put("logging.options.max-size", "10m"))
        yield Found("its log is thrown away", "logging", edits)


@rule(
    "health-unchecked",
    Level.LOW,
    "Nothing checks its health",
    why="A server that hangs runs, as far as Docker knows.",
    remedy="give it a health check that asks its /health",
    cis="5.27",
)
def health_unchecked(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers without a health check. A compose file does not say what the image has."""
    if container.health_check is False:
        wanted = ("CMD", "curl", "-fsS", "http://127.0.0.1:8000/health")
        yield Found("it has no health check", "healthcheck", (put("healthcheck.test", wanted),), guess=True)


@rule(
    "ulimit-unbounded",
    Level.LOW,
    "A limit of its processes is lifted",
    why="Files and processes without number are those of the whole machine.",
    remedy="leave the engine's own limit, or name a number",
    cis="5.19",
)
def ulimit_unbounded(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find limits of files and processes that are none. Locked memory without a limit is what GPUs need."""
    for each in container.ulimits:
        if each.name in _COUNTED and (each.hard < 0 or each.hard > _MOST_FILES):
            yield Found(f"its limit {each.name} is lifted", "ulimits", (drop(f"ulimits.{each.name}"),))


@rule(
    "oom-spared",
    Level.MEDIUM,
    "It is spared when memory runs out",
    why="The kernel then ends something else in its place: sshd, Docker or this daemon.",
    remedy="leave oom_kill_disable and oom_score_adj out, and give it a limit of memory",
)
def oom_spared(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find containers that the kernel is told not to end."""
    if container.oom_kill_disabled:
        yield Found("the kernel may not end it", "oom_kill_disable", (drop("oom_kill_disable"),))
    if container.oom_score_adjustment <= _SPARED:
        yield Found("the kernel ends others first", "oom_score_adj", (drop("oom_score_adj"),))


RULES: Final = (
    memory_unlimited,
    cpu_unlimited,
    pids_unlimited,
    restart_unbounded,
    log_unbounded,
    log_none,
    health_unchecked,
    ulimit_unbounded,
    oom_spared,
)
