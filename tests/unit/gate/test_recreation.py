from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.recreate.state import Phase, Recreation
from aiidpd.components.containers.trial.state import ImageTrial
from aiidpd.components.containers.trial.state import Phase as TrialPhase
from aiidpd.gate.recreation import Place, copy_refusal, place_of, removal_refusal, rename_refusal

ENTRY = Recreation("a" * 64, "vllm", "0123abcd", Phase.SWAPPING, ran=True, grace=1.0, at=0.0, run="")
OLD, NEW = ENTRY.old_name, ENTRY.new_name
BESIDE = f"{NEW}-beside"


def test_the_names_are_those_of_the_daemon():
    assert place_of(OLD) == Place("vllm", "old", "0123abcd")
    assert place_of(NEW) == Place("vllm", "new", "0123abcd")
    assert place_of("vllm") == Place("vllm")
    assert place_of("vllm-aiidpd-old-") == Place("vllm-aiidpd-old-")
    trial = ImageTrial(
        "t", "vllm", "a" * 64, "", "", "", "0123abcd", TrialPhase.TRYING, grace=1.0, at=0.0, run=""
    )
    assert place_of(trial.beside_name) == Place("vllm", "beside", "0123abcd")
    assert place_of(trial.beside_name).old_name == trial.old_name
    assert place_of(f"{OLD}-beside") == Place(f"{OLD}-beside")


@pytest.mark.parametrize(("one", "other"), [("vllm", OLD), (NEW, "vllm"), (OLD, "vllm"), ("vllm", NEW)])
def test_a_container_gets_and_leaves_its_place(one: str, other: str):
    assert rename_refusal(one, other) == ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("vllm", "db"),
        ("vllm", "vllm"),
        (OLD, NEW),
        (NEW, "db"),
        ("db", NEW),
        ("vllm", f"{OLD}-aiidpd-new-0123"),
        (BESIDE, "vllm"),
        ("vllm", BESIDE),
        (BESIDE, NEW),
        (NEW, BESIDE),
        (BESIDE, OLD),
    ],
)
def test_no_other_name_is_given(one: str, other: str):
    assert rename_refusal(one, other)


def test_the_last_of_a_name_is_never_removed():
    assert removal_refusal(OLD, ["vllm"]) == ""
    assert removal_refusal(NEW, [OLD]) == ""
    assert removal_refusal("vllm", [OLD, "db"]) == ""
    assert "the last of its name" in removal_refusal("vllm", ["db", "vllm2", "my-vllm"])
    assert "the last of its name" in removal_refusal(OLD, ["db"])
    assert "the last of its name" in removal_refusal("vllm", [BESIDE])
    assert "the last of its name" in removal_refusal(NEW, [BESIDE])
    assert removal_refusal(BESIDE, []) == ""


def test_a_copy_has_a_name_of_its_original_s():
    assert copy_refusal("vllm", NEW, [OLD, "db"]) == ""
    for wanted in ("vllm", OLD, "db", "db-aiidpd-new-0123abcd"):
        assert copy_refusal("vllm", wanted, [])
    assert copy_refusal(OLD, f"{OLD}-aiidpd-new-0123", [])
    assert "already" in copy_refusal("vllm", NEW, ["vllm-aiidpd-new-0000", OLD])
    assert copy_refusal("vllm", BESIDE, [])
    assert copy_refusal("vllm", BESIDE, [NEW], ("new", "beside")) == ""
    assert "already" in copy_refusal("vllm", NEW, [BESIDE, OLD], ("new", "beside"))
    assert copy_refusal(BESIDE, NEW, [], ("new", "beside"))


NAMES = st.sampled_from(
    ["vllm", "db", OLD, NEW, BESIDE, "db-aiidpd-old-00ff", "x-aiidpd-new-00ff", f"{OLD}-aiidpd-new-0123"]
)


@given(st.lists(st.tuples(st.sampled_from(["rename", "copy", "image", "remove"]), NAMES, NAMES), max_size=30))
def test_whatever_steps_are_taken_each_name_there_was_has_a_container_left(steps: list[tuple[str, str, str]]):
    there = {"vllm", "db"}
    for verb, name, wanted in steps:
        if name not in there:
            continue
        if verb == "rename" and wanted not in there and not rename_refusal(name, wanted):
            there.remove(name)
            there.add(wanted)
        elif verb == "copy" and wanted not in there and not copy_refusal(name, wanted, there - {name}):
            there.add(wanted)
        elif verb == "image" and wanted not in there:
            if not copy_refusal(name, wanted, there - {name}, ("new", "beside")):
                there.add(wanted)
        elif verb == "remove" and not removal_refusal(name, there - {name}):
            there.remove(name)
        holders = {place_of(each).base for each in there if place_of(each).kind != "beside"}
        assert holders == {place_of(each).base for each in there} == {"vllm", "db"}
