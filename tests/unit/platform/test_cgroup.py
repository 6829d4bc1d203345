from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform.cgroup import container_id

ID, INNER = "5d" * 32, "0a1" * 21 + "f"


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/system.slice/docker-{ID}.scope\n",
        f"0::/../docker-{ID}.scope\n",
        f"12:memory:/docker/{ID}\n11:cpu,cpuacct:/docker/{ID}\n",
        f"0::/machine.slice/libpod-{ID}.scope/container\n",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope\n",
        f"11:devices:/kubepods/besteffort/pod2f/{ID}\n1:name=systemd:/\n",
        f"0::/docker/{INNER}/docker/{ID}\n",
    ],
    ids=["docker v2", "other namespace", "docker v1", "podman", "rootless", "containerd", "k8s v1", "nested"],
)
def test_a_container_is_known_by_its_group(cgroup: str) -> None:
    assert container_id(cgroup) == ID


@pytest.mark.parametrize(
    "cgroup",
    [
        "",
        "0::/\n",
        "0::/system.slice/ollama.service\n",
        "0::/user.slice/user-1000.slice/session-2.scope\n",
        f"0::/system.slice/docker-{ID[:-1]}.scope\n",
        f"0::/system.slice/docker-{ID}0.scope\n",
    ],
)
def test_what_is_no_container_is_none(cgroup: str) -> None:
    assert container_id(cgroup) is None


@given(st.text())
def test_no_text_brings_it_down(text: str) -> None:
    found = container_id(text)
    assert found is None or len(found) == 64
