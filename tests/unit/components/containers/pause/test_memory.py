"""Which back-off requests count for the containers."""

from __future__ import annotations

from dataclasses import replace

from aiidpd.components.containers.pause.memory import PauseMemory
from aiidpd.contracts.messages import BackOffEnded, BackOffMessage, BackOffRequested
from aiidpd.kernel.inbox import Messages
from tests.fakes.clock import FakeClock

HOT = BackOffRequested(
    reason="it is hot", gpu="GPU-a", label="GPU 0", hold_seconds=60.0, containers=("vllm", "llama")
)


async def test_a_request_counts_for_its_time_and_until_it_ends(clock: FakeClock) -> None:
    messages = Messages(clock)
    memory = PauseMemory(clock, messages.inbox(BackOffMessage))
    messages.send(HOT)
    messages.send(replace(HOT, gpu="GPU-b", hold_seconds=1e9))
    memory.receive()
    await clock.advance(59.0)
    (first, second) = memory.back_offs(simulated=False)
    assert (first.label, first.containers, first.reason) == ("GPU 0", ("vllm", "llama"), "it is hot")
    await clock.advance(1.0)
    assert memory.back_offs(simulated=False) == (second,)
    messages.send(BackOffEnded(reason="it is cool", gpu="GPU-b"))
    assert memory.arrived.is_set()
    memory.receive()
    assert not memory.arrived.is_set()
    assert not memory.back_offs(simulated=False)


def test_a_request_that_names_no_container_and_one_about_simulated_heat_pause_nothing(
    clock: FakeClock,
) -> None:
    messages = Messages(clock)
    memory = PauseMemory(clock, messages.inbox(BackOffMessage))
    messages.send(replace(HOT, containers=()))
    memory.receive()
    assert not memory.back_offs(simulated=True)
    messages.send(replace(HOT, simulated=True))
    memory.receive()
    assert not memory.back_offs(simulated=False)
    assert memory.back_offs(simulated=True)
