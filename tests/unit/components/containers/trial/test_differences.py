"""What differs between a container and one of another image, without secrets."""

from __future__ import annotations

import copy

from aiidpd.components.containers.trial.body import body_with
from aiidpd.components.containers.trial.differences import described_differences, not_as_planned
from tests.unit.components.containers.trial.test_body import IMAGE, container


def test_a_limit_that_did_not_come_out_is_named() -> None:
    old = container()
    plan = body_with(old, IMAGE, "llm:2")
    new = {**copy.deepcopy(old), "HostConfig": {**plan.body["HostConfig"], "Memory": 5}}
    assert not_as_planned(old, {**new, "HostConfig": plan.body["HostConfig"]}, plan) == ()
    assert not_as_planned(old, new, plan) == ("HostConfig.Memory",)


def test_differences_have_both_values_and_no_secret() -> None:
    old, new = container(Env=["A=1", "API_KEY=secret1"]), container(Env=["A=2", "API_KEY=secret2"])
    new["Image"], new["Config"]["Labels"] = "sha256:2", {"build": "2"}
    found = described_differences(old, new)
    assert found[0] == "Image: sha256:1 -> sha256:2"
    assert "Labels.build: 1 -> 2" in found
    assert "Env: A=1 -> -" in found
    assert "secret" not in str(found)
