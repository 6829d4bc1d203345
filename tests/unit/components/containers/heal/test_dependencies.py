"""Whose network a container lives in, whom it needs, and in what order they start."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.heal.dependencies import dependants, dependencies, start_order
from aiidpd.components.containers.runtime import ContainerReading


def one(name: str, network: str = "", project: str = "", service: str = "") -> ContainerReading:
    return ContainerReading(
        f"id-{name}", name, "image", "running", network_mode=network, project=project, service=service
    )


def test_names_are_those_of_containers_or_of_services_of_the_same_project() -> None:
    found = dependencies(
        [
            one("db"),
            one("p-web-1", "", "p", "web"),
            one("p-app-1", "", "p", "app"),
            one("q-app-1", "", "q", "app"),
        ],
        {"id-p-app-1": ("web", "db"), "id-q-app-1": ("web",)},
    )
    assert found.needs == {"id-p-app-1": ("id-p-web-1", "id-db")}
    assert found.missing == {"id-q-app-1": ("web",)}
    assert found.cycles == {}


def test_whoever_joins_a_network_needs_its_owner() -> None:
    readings = [
        one("vpn"),
        one("app", "container:id-vpn"),
        one("other", "container:vpn"),
        one("lost", "container:x"),
    ]
    found = dependencies(readings, {})
    assert found.needs == {"id-app": ("id-vpn",), "id-other": ("id-vpn",)}
    assert found.network == {"id-app": "id-vpn", "id-other": "id-vpn", "id-lost": ""}


def test_a_cycle_is_named_along_its_way() -> None:
    needs = {"id-a": ("b",), "id-b": ("c",), "id-c": ("a",), "id-d": ("a",), "id-e": ("e",)}
    found = dependencies([one(name) for name in "abcde"], needs)
    assert found.cycles["id-b"] == ("b", "c", "a", "b")
    assert found.cycles["id-e"] == ("e", "e")
    assert found.cycles.keys() == {"id-a", "id-b", "id-c", "id-e"}, "d only needs one"


def test_dependants_start_after_what_they_need() -> None:
    needs = {"web": ("app",), "app": ("db",), "cron": ("app", "db")}
    order = dependants("db", needs)
    assert set(order) == {"app", "web", "cron"}
    assert order[0] == "app"
    assert dependants("web", needs) == ()


@given(st.dictionaries(st.integers(0, 12), st.lists(st.integers(0, 12), max_size=4), max_size=13))
def test_any_graph_is_ordered_and_its_cycles_are_found(edges: dict[int, list[int]]) -> None:
    readings = [one(f"c{number}") for number in range(13)]
    found = dependencies(
        readings, {f"id-c{key}": tuple(f"c{each}" for each in value) for key, value in edges.items()}
    )
    ids = [each.id for each in readings]
    order = start_order(ids, found.needs)
    assert sorted(order) == sorted(ids)

    def reaches(begin: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(found.needs.get(begin, ()))
        while waiting:
            each = waiting.pop()
            if each not in seen:
                seen.add(each)
                waiting += found.needs.get(each, ())
        return seen

    circular = {each for each in ids if each in reaches(each)}
    assert found.cycles.keys() == circular
    for identity, needed in found.needs.items():
        for each in needed:
            if identity not in circular and each not in circular:
                assert order.index(each) < order.index(identity)
    for identity in ids:
        assert set(dependants(identity, found.needs)) == {
            each for each in ids if identity in reaches(each) and each != identity
        }
