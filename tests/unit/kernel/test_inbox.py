"""Messages reach whoever takes their kind, and wait for a receiver that is being replaced."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.kernel.inbox import Inbox, Messages
from aiidpd.kernel.messages import Message
from tests.fakes.clock import FakeClock
from tests.waiting import PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Base(Message):
    number: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Derived(Base):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Other(Message):
    pass


def test_a_message_goes_to_every_inbox_of_its_kind_and_says_when_it_was_sent(clock: FakeClock) -> None:
    messages = Messages(clock)
    base, derived, other = messages.inbox(Base), messages.inbox(Derived), messages.inbox(Other)
    assert messages.send(Derived(reason="so")) == 2
    assert messages.send(Base(reason="so")) == 1
    assert [message.sent_at for message in base.take()] == [clock.monotonic()] * 2
    assert len(derived.take()) == 1
    assert other.first() is None


def test_nobody_who_takes_it_is_no_error(clock: FakeClock) -> None:
    assert Messages(clock).send(Other(reason="so")) == 0


def test_a_message_waits_until_it_is_done(clock: FakeClock) -> None:
    messages = Messages(clock)
    inbox = messages.inbox(Base)
    messages.send(Base(reason="so", number=1))
    messages.send(Base(reason="so", number=2))
    for _ in range(2):  # a receiver that was replaced in between finds the same
        first = inbox.first()
        assert first is not None
        assert first.number == 1
    inbox.done(first)
    inbox.done(first)  # twice is no error
    second = inbox.first()
    assert second is not None
    assert second.number == 2
    assert inbox.arrived.is_set()
    inbox.done(second)
    assert not inbox.arrived.is_set()


async def test_a_receiver_that_waits_is_woken(clock: FakeClock) -> None:
    messages = Messages(clock)
    inbox = messages.inbox(Base)
    async with anyio.create_task_group() as group:
        group.start_soon(inbox.arrived.wait)
        await anyio.lowlevel.checkpoint()
        messages.send(Base(reason="so"))


@given(st.lists(st.one_of(st.integers(0, 9), st.just("take"), st.just("done")), max_size=40))
def test_whatever_happens_the_newest_wait_in_order_and_what_is_lost_is_counted(acts: list[int | str]) -> None:
    inbox: Inbox[Base] = Inbox(4)
    waiting: list[int] = []
    lost = 0
    for act in acts:
        if act == "take":
            assert [message.number for message in inbox.take()] == waiting
            waiting = []
        elif act == "done":
            first = inbox.first()
            assert (None if first is None else first.number) == (waiting[0] if waiting else None)
            if first is not None:
                inbox.done(first)
                waiting = waiting[1:]
        else:
            inbox.put(Base(reason="so", number=int(act)))
            waiting.append(int(act))
            lost += len(waiting) > 4
            waiting = waiting[-4:]
        assert inbox.lost == lost
        assert inbox.arrived.is_set() == bool(waiting)


async def test_whoever_waits_while_somebody_else_finds_the_inbox_empty_hears_of_the_next_message(
    clock: FakeClock,
) -> None:
    messages = Messages(clock)
    inbox = messages.inbox(Base)
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            group.start_soon(inbox.arrived.wait)
            await anyio.lowlevel.checkpoint()
            assert inbox.take() == []
            inbox.done(Base(reason="of another inbox"))
            messages.send(Base(reason="so"))
