"""Which requests to leave a GPU alone are in force."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.contracts.backoff import BackOffs
from aiidpd.contracts.messages import BackOffEnded, BackOffMessage, BackOffRequested

HOT = BackOffRequested(reason="it is hot", gpu="GPU-0", label="GPU 0", hold_seconds=60.0, sent_at=100.0)
COOL = BackOffEnded(reason="it is cool", gpu="GPU-0", sent_at=101.0)


def test_a_request_holds_until_it_ends_or_runs_out() -> None:
    requests = BackOffs().after([HOT])
    assert requests.active(159.9) == (HOT,)
    assert not requests.active(160.0)
    assert not requests.after([COOL]).active(102.0)


def test_each_gpu_has_its_own() -> None:
    other = replace(HOT, gpu="GPU-1")
    assert BackOffs().after([HOT, other, COOL]).active(102.0) == (other,)


def test_no_request_holds_for_ever() -> None:
    requests = BackOffs().after([replace(HOT, hold_seconds=1e9)])
    assert requests.active(3699.9)
    assert not requests.active(3700.0)


MESSAGES = st.lists(
    st.one_of(
        st.builds(
            BackOffRequested,
            reason=st.just("hot"),
            gpu=st.sampled_from("ab"),
            label=st.just("GPU"),
            hold_seconds=st.floats(0, 1e5),
            sent_at=st.floats(0, 100),
        ),
        st.builds(BackOffEnded, reason=st.just("cool"), gpu=st.sampled_from("ab"), sent_at=st.floats(0, 100)),
    ),
    max_size=12,
)


@given(MESSAGES, st.integers(0, 12))
def test_however_they_are_delivered_the_last_word_about_each_gpu_counts(
    messages: list[BackOffMessage], cut: int
) -> None:
    requests = BackOffs().after(messages[:cut]).after(messages[cut:])
    assert requests == BackOffs().after(messages)
    last = {message.gpu: message for message in messages}
    for request in requests.active(100.0):
        assert last[request.gpu] is request
