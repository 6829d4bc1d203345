from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.api.access import Access, AccessPolicy, decide
from aiidpd.platform.peercred import Peer

IDS = st.integers(0, 5)  # few, so that they meet
PEERS = st.builds(Peer, st.integers(1, 9), IDS, IDS, st.frozensets(IDS))
POLICIES = st.builds(AccessPolicy, IDS, IDS, st.frozensets(IDS))


@given(POLICIES, PEERS, st.sampled_from(Access))
def test_the_table(policy: AccessPolicy, peer: Peer, access: Access) -> None:
    may_change = peer.uid in (0, policy.owner) or peer.uid in policy.admins
    may_read = may_change or peer.gid == policy.readers or policy.readers in peer.groups
    decision = decide(policy, peer, access)
    assert decision.allowed == (may_change if access is Access.CHANGE else may_read)
    assert decision.allowed == (not decision.reason)
    assert decision.allowed == (not decision.remedy)


@given(POLICIES, PEERS)
def test_whoever_may_change_may_look(policy: AccessPolicy, peer: Peer) -> None:
    if decide(policy, peer, Access.CHANGE).allowed:
        assert decide(policy, peer, Access.READ).allowed


@given(POLICIES, st.sampled_from(Access))
def test_who_is_not_known_may_do_nothing(policy: AccessPolicy, access: Access) -> None:
    assert not decide(policy, None, access).allowed


def test_a_refusal_says_who_and_what_would_help() -> None:
    policy = AccessPolicy(owner=999, readers=50)
    decision = decide(policy, Peer(1, 1000, 1000, frozenset({50})), Access.CHANGE)
    assert decision.reason == "user 1000 may only read"
    assert "control.admins" in decision.remedy
    decision = decide(policy, Peer(1, 1000, 1000), Access.READ)
    assert decision.reason == "user 1000 is not a member of the socket's group"
