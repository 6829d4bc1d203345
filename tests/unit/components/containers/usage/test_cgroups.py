"""Control groups of containers, as the drivers and runtimes name them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.usage.cgroups import MOST_LINES, UNIFIED, parse

ID = "b2aecc3421b4267b0ca534efddc1d1803b15bf9a1c47366e8cbcbaf431408543"
OUTER = "a" * 64


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (f"0::/docker/{ID}", f"/docker/{ID}"),
        (f"0::/system.slice/docker-{ID}.scope", f"/system.slice/docker-{ID}.scope"),
        (f"0::/system.slice/docker-{ID}.scope/init.scope", f"/system.slice/docker-{ID}.scope"),
        (
            f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/docker-{ID}.scope",
        ),
        (f"0::/machine.slice/libpod-{ID}.scope/container", f"/machine.slice/libpod-{ID}.scope"),
        (f"0::/docker/{OUTER}/docker/{ID}/leaf", f"/docker/{OUTER}/docker/{ID}"),
        ("0::/custom/llm", "/custom/llm"),  # --cgroup-parent by a runtime that does not name the id
        ("0::/", ""),
        ("0::/system.slice/docker.service", ""),  # with the daemon's own processes
        ("0::/user.slice", ""),
        (f"0::/../../{ID}", ""),  # outside of what can be seen here
    ],
)
def test_the_whole_container_is_found_by_its_id(line: str, path: str) -> None:
    groups = parse(line + "\n")
    assert not groups.version_1
    assert groups.of_container(ID).paths.get(UNIFIED, "") == path


def test_in_hybrid_mode_the_controllers_count_in_version_1() -> None:
    here = f"/docker/{ID}"
    text = f"9:name=systemd:{here}\n4:memory:{here}/sub\n3:cpu,cpuacct:{here}\n0::{here}\n"
    groups = parse(text)
    assert groups.version_1
    assert groups.of_container(ID).paths == {"memory": here, "cpu": here, "cpuacct": here, UNIFIED: here}


def test_a_container_in_a_container_is_not_taken_for_the_outer_one() -> None:
    inner = parse(f"0::/docker/{OUTER}/docker/{ID}").of_container(ID)
    outer = parse(f"0::/docker/{OUTER}/docker/{ID}").of_container(OUTER)
    assert inner.paths[UNIFIED] == f"/docker/{OUTER}/docker/{ID}"
    assert outer.paths[UNIFIED] == f"/docker/{OUTER}"


@given(st.text(), st.text())
def test_whatever_the_text_is_no_path_leaves_the_tree(text: str, identity: str) -> None:
    for path in parse(text).of_container(identity).paths.values():
        assert path.startswith("/")
        assert ".." not in path.split("/")


@given(st.text(), st.integers(1, 9), st.text(st.characters(exclude_characters="\n:")))
def test_lines_that_are_none_cost_no_other(noise: str, number: int, controller: str) -> None:
    lines = [*noise.split("\n")[: MOST_LINES - 2], f"{number}:{controller}x:/docker/{ID}"]
    names = {name for name in f"{controller}x".split(",") if name and not name.startswith("name=")}
    assert names <= parse("\n".join(lines)).paths.keys()
