"""The reader on trees such as the kernel shows, of both versions, and on its own process."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from aiidpd.components.containers.usage.reader import Target, UseReader

ID = "b" * 64
STAT = "{pid} (vllm (x)) {state} 1 1 1 0 -1 4194560 1 0 3 0 {ticks} 0 0 0 20 0 1 0 555 1044480 130\n"


class Machine:
    """A tree of /proc and one of /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.proc, self.cgroups = root / "proc", root / "cgroup"
        self.reader = UseReader(self.proc, self.cgroups)

    def write(self, path: str, text: str) -> None:
        file = self.proc.parent / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def process(self, pid: int, state: str = "S", status: str = "", *, threads: tuple[int, ...] = ()) -> None:
        self.write(f"proc/{pid}/stat", STAT.format(pid=pid, state=state, ticks=250))
        for thread in (pid, *threads):
            self.write(f"proc/{pid}/task/{thread}/stat", STAT.format(pid=thread, state=state, ticks=1))
            self.write(f"proc/{pid}/task/{thread}/status", status)
            self.write(f"proc/{pid}/task/{thread}/wchan", "uvm_spin_loop")

    def version_2(self) -> None:
        here = f"cgroup/system.slice/docker-{ID}.scope"
        self.write("proc/10/cgroup", f"0::/system.slice/docker-{ID}.scope/init.scope\n")
        self.process(10)
        self.process(11, "D")
        self.write(f"{here}/cgroup.procs", "")
        self.write(f"{here}/init.scope/cgroup.procs", "10\n")
        self.write(f"{here}/worker.scope/cgroup.procs", "11\n12\n0\n")
        self.write(f"{here}/cpu.stat", "usage_usec 1500000\n")
        self.write(f"{here}/memory.stat", "anon 4096\nfile 8192\n")
        self.write(f"{here}/memory.max", "max\n")
        self.write(f"{here}/memory.events", "low 0\noom_kill 2\n")
        self.write(f"{here}/io.stat", "8:0 rbytes=7 wbytes=9\n")
        self.write(f"{here}/cgroup.events", "populated 1\nfrozen 0\n")

    def version_1(self) -> None:
        controllers = ("cpu", "cpuacct", "memory", "blkio", "freezer", "pids")
        text = "".join(f"{number}:{name}:/docker/{ID}\n" for number, name in enumerate(controllers, 1))
        self.write("proc/10/cgroup", f"{text}0::/docker/{ID}\n")
        self.process(10)
        self.process(11, "D")
        for name in controllers:
            self.write(f"cgroup/{name}/docker/{ID}/cgroup.procs", "10\n11\n")
        self.write(f"cgroup/cpuacct/docker/{ID}/cpuacct.usage", "1500000000\n")
        self.write(f"cgroup/memory/docker/{ID}/memory.stat", "rss 1\ntotal_rss 4096\n")
        self.write(f"cgroup/memory/docker/{ID}/memory.limit_in_bytes", "9223372036854771712\n")
        self.write(f"cgroup/memory/docker/{ID}/memory.oom_control", "under_oom 0\noom_kill 2\n")
        self.write(f"cgroup/blkio/docker/{ID}/blkio.throttle.io_service_bytes", "8:0 Read 7\n8:0 Write 9\n")
        self.write(f"cgroup/freezer/docker/{ID}/freezer.state", "THAWED\n")


@pytest.fixture(params=["version_1", "version_2"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    getattr(made, request.param)()
    return made


def test_both_versions_show_the_same(machine: Machine) -> None:
    use = machine.reader.read([Target(ID, 10)], 5.0)[ID].use
    assert (use.cpu_seconds, use.memory_bytes, use.memory_limit_bytes) == (1.5, 4096, None)
    assert (use.read_bytes, use.written_bytes, use.oom_kills, use.frozen) == (7, 9, 2, False)
    assert use.pids >= {10, 11}
    assert use.blocked == {11}
    assert use.read == 5.0


def test_the_processes_of_a_paused_container_are_not_blocked(machine: Machine) -> None:
    machine.reader.read([Target(ID, 10)], 5.0)
    for file in machine.cgroups.rglob("freezer.state"):
        file.write_text("FROZEN\n")
    for file in machine.cgroups.rglob("cgroup.events"):
        file.write_text("frozen 1\n")
    use = machine.reader.read([Target(ID, 10)], 6.0)[ID].use
    assert use.frozen
    assert use.blocked == frozenset()


def test_each_file_may_be_missing_alone(machine: Machine) -> None:
    for file in sorted(machine.cgroups.rglob("*")):
        if file.is_file() and file.name != "cgroup.procs":
            text = file.read_text()
            file.unlink()
            assert ID in machine.reader.read([Target(ID, 10)], 5.0), file
            file.write_text("\0nonsense" * 10)
            assert ID in machine.reader.read([Target(ID, 10)], 5.0), file
            file.write_text(text)
    for file in machine.cgroups.rglob("*"):
        if file.is_file():
            file.unlink()
    use = machine.reader.read([Target(ID, 10)], 5.0)[ID].use
    assert (use.cpu_seconds, use.memory_bytes, use.oom_kills, use.pids) == (None, None, None, frozenset())


def test_a_container_that_is_gone_is_left_out(machine: Machine) -> None:
    assert machine.reader.read([Target("c" * 64, 99)], 5.0) == {}
    assert machine.reader.read([Target(ID, None)], 5.0) == {}
    machine.reader.read([Target(ID, 10)], 5.0)
    shutil.rmtree(machine.cgroups)
    assert machine.reader.read([Target(ID, 10)], 5.0) == {}
    assert machine.reader.left(frozenset()) == ()


def test_a_container_that_ended_is_read_while_something_of_it_is_left(machine: Machine) -> None:
    machine.reader.read([Target(ID, 10)], 5.0)
    assert machine.reader.left(frozenset({ID})) == ()
    assert machine.reader.left(frozenset()) == (ID,)
    assert ID in machine.reader.read([Target(ID, None)], 6.0)


@pytest.mark.parametrize("state", ["D", "R"])
def test_processes_with_a_pending_kill_are_found_down_to_the_thread(machine: Machine, state: str) -> None:
    machine.process(11, state, "ShdPnd:\t0000000000000100\n", threads=(21,))
    found = machine.reader.read([Target(ID, 10, ending=True)], 5.0)[ID].pending
    assert {(each.pid, each.state, each.wchan) for each in found} == {
        (11, state, "uvm_spin_loop"),
        (21, state, "uvm_spin_loop"),
    }
    calm = machine.reader.read([Target(ID, 10)], 5.0)[ID].pending
    assert len(calm) == (2 if state == "D" else 0)  # who runs is nothing strange while nobody ends it


def test_a_new_first_process_is_found_in_its_own_group(machine: Machine) -> None:
    machine.reader.read([Target(ID, 10)], 5.0)
    machine.write("proc/20/cgroup", "0::/\n")
    assert machine.reader.read([Target(ID, 20)], 6.0) == {}


def test_processes_of_this_machine_by_their_pids() -> None:
    before = UseReader().processes("self", [os.getpid()], 1.0)
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    after = UseReader().processes("self", [os.getpid(), 2**22 + 1], 2.0)
    assert before.cpu_seconds is not None
    assert after.cpu_seconds is not None
    assert after.cpu_seconds - before.cpu_seconds >= 0.05
    assert after.pids == {os.getpid()}
    assert after.memory_bytes
    assert after.memory_bytes > 1 << 20
    assert UseReader().processes("none", [2**22 + 1], 3.0).cpu_seconds is None


def test_the_memory_that_the_host_can_give() -> None:
    available = UseReader().host_available_bytes()
    assert available is not None
    assert available > 1 << 20
