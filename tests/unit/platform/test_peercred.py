from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.peercred import Peer, peer_of, user_ids
from aiidpd.platform.sockets import listen_unix
from tests.unprivileged import NOBODY, python_as_nobody
from tests.waiting import PATIENCE

CONNECT = "import socket, sys; c = socket.socket(socket.AF_UNIX); c.connect(sys.argv[1]); sys.stdin.read()"


def test_a_peer_is_the_process_that_connected(tmp_path: Path) -> None:
    listener = listen_unix(tmp_path / "a.sock")
    listener.socket.settimeout(PATIENCE)
    client = subprocess.Popen([sys.executable, "-c", CONNECT, str(listener.path)], stdin=subprocess.PIPE)
    connection, _ = listener.socket.accept()
    try:
        peer = peer_of(connection)
    finally:
        client.communicate()
        connection.close()
        listener.close()
    assert (peer.pid, peer.uid, peer.gid) == (client.pid, os.getuid(), os.getgid())
    assert peer.groups == frozenset(os.getgroups())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")
@pytest.mark.parametrize("groups", [[], [12, 4321], list(range(5000, 5200)), list(range(5000, 6000))])
def test_supplementary_groups_are_those_of_the_process(tmp_path: Path, groups: list[int]) -> None:
    tmp_path.chmod(0o711)
    listener = listen_unix(tmp_path / "a.sock", mode=0o666)
    listener.socket.settimeout(PATIENCE)
    client = subprocess.Popen(
        [*python_as_nobody(CONNECT, modules=["socket"], groups=groups), "a.sock"],
        stdin=subprocess.PIPE,
        cwd=tmp_path,  # the folders above it may be closed to that user
    )
    connection, _ = listener.socket.accept()
    try:
        peer = peer_of(connection)
    finally:
        client.communicate()
        connection.close()
        listener.close()
    assert (peer.uid, peer.gid) == (NOBODY, NOBODY)
    if len(groups) <= 256:
        assert peer.groups == frozenset(groups)
    else:  # more than the kernel tells in one piece: what the user database says about the user
        user = pwd.getpwuid(NOBODY).pw_name
        assert peer.groups == frozenset(os.getgrouplist(user, NOBODY))


def test_membership_counts_the_first_group_and_the_others() -> None:
    peer = Peer(1, 1000, 100, frozenset({4, 27}))
    assert [peer.in_group(gid) for gid in (100, 4, 27, 0, 1000)] == [True, True, True, False, False]


def test_users_are_looked_up_by_name_and_taken_by_number() -> None:
    assert user_ids(["root", 12345], key="control.admins") == {0, 12345}


def test_an_unknown_user_is_named_with_the_setting() -> None:
    with pytest.raises(Misconfigured, match=r"cannot use control\.admins: there is no user 'aiidpd-nobody'"):
        user_ids(["root", "aiidpd-nobody"], key="control.admins")


def test_both_ends_of_a_pair_are_this_process() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert peer_of(one).pid == os.getpid()
