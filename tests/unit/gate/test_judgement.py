"""Whatever steps a caller takes, on whatever containers, what was promised stays so."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.gate.judgement import Judgement, key_of
from aiidpd.gate.message import Malformed, parse_request, target_of
from aiidpd.gate.operations import operate
from aiidpd.gate.recreation import BESIDE, place_of
from aiidpd.gate.reference import parse
from aiidpd.gate.rules import COPY, IMAGE, REMOVE, RENAME, Refusal, match
from aiidpd.gate.settings import Rule
from tests.fakes.fetched_engine import OWN, FetchedEngine, image_id

ONE, TWO = "vllm/vllm-openai:v1", "vllm/vllm-openai:v2"
OLD, NEW, ASIDE = "vllm-aiidpd-old-0123", "vllm-aiidpd-new-0123", "vllm-aiidpd-new-0123-beside"


def made_engine(**labels: str) -> FetchedEngine:
    engine = FetchedEngine()
    old = engine.add_image(1, ONE)
    engine.add_image(2, TWO)
    engine.add_image(3, "evil/x:1")
    engine.run("vllm", ONE, old, **(labels or {"aiidpd_upgrade": "allow"}))
    engine.run("db", "evil/x:1", image_id(3))
    return engine


def call(engine: FetchedEngine, line: str, rules: tuple[Rule, ...] = ()) -> str:
    """Have a call judged, and done if it may; return why it may not, or the status and reason of its end."""
    method, target = line.split(" ")
    matched = match(parse_request(f"{method} {target} HTTP/1.1\r\nHost: d\r\n\r\n".encode()))
    judgement = Judgement(engine.fetch, rules, "gate.toml")
    subject, document = judgement.subject(matched.container)
    if subject is None:
        return "404"
    if refusal := judgement.refusal(matched, subject):
        return refusal
    if matched.verb == RENAME:
        if matched.name in engine.containers:
            return "409 in use"
        engine.rename(subject.name, matched.name)
    elif matched.verb == REMOVE:
        engine.fetch("DELETE", f"/containers/{subject.identity}", None)
    elif matched.verb in (COPY, IMAGE):
        made = operate(engine.fetch, matched, subject, document, rules).made
        return f"{made.status} {made.reason}" if made.status else ""
    return ""


def image_call(text: str, name: str = NEW, container: str = "vllm") -> str:
    pairs = [("name", name)] * bool(name) + [("image", text)]
    return f"POST {target_of(f'/aiidpd/images/{container}', pairs)}"


def test_a_trial_goes_its_way():
    engine = made_engine()
    for line in (
        image_call(TWO, ""),
        image_call(TWO, ASIDE),
        f"POST /containers/{ASIDE}/start",
        f"POST /containers/{ASIDE}/stop",
        f"DELETE /containers/{ASIDE}",
        image_call(TWO),
        "POST /containers/vllm/stop",
        f"POST /containers/vllm/rename?name={OLD}",
        f"POST /containers/{NEW}/rename?name=vllm",
        "POST /containers/vllm/start",
        "POST /containers/vllm/stop",
        f"POST /containers/vllm/rename?name={NEW}",
        f"POST /containers/{OLD}/rename?name=vllm",
        f"DELETE /containers/{NEW}",
    ):
        assert call(engine, line) in ("", "204 "), line
    assert list(engine.containers) == ["db", "vllm"]
    assert engine.containers["vllm"]["Image"] == image_id(1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            image_call(TWO, container="db", name="db-aiidpd-new-0123"),
            "neither a label of it (aiidpd.upgrade=allow)",
        ),
        (image_call("evil/x:1"), "not of the container's own repository"),
        (image_call(image_id(3)), "not of the container's own repository"),
        (image_call(TWO, "db"), "is called vllm-aiidpd-new-TOKEN"),
        (image_call(TWO, "vllm"), "is called vllm-aiidpd-new-TOKEN"),
        (image_call(TWO, OLD), "is called vllm-aiidpd-new-TOKEN"),
        (image_call(TWO, "db-aiidpd-new-0123"), "is called vllm-aiidpd-new-TOKEN"),
        (f"POST /aiidpd/images/vllm?name={NEW}", "an image is to be named"),
        ("POST /aiidpd/images/vllm", "an image is to be named"),
        ("POST /aiidpd/pulls/vllm", "an image is to be named"),
        (f"POST /aiidpd/copies/vllm?name={NEW}", "neither a label of it (aiidpd.heal=recreate)"),
    ],
)
def test_what_is_not_allowed_changes_nothing(line: str, reason: str):
    engine = made_engine()
    assert reason in call(engine, line)
    assert list(engine.containers) == ["vllm", "db"]


def test_one_beside_is_permitted_by_whose_place_it_is_tried_in():
    engine = made_engine()
    assert call(engine, image_call(TWO, ASIDE)) == ""
    engine.containers[ASIDE]["Config"]["Labels"]["aiidpd.upgrade"] = "allow"  # such as its image brings
    for line in (f"POST /containers/{ASIDE}/rename?name=vllm", f"POST /containers/vllm/rename?name={ASIDE}"):
        assert "of its own re-creation" in call(engine, line) or "does not lead to" in call(engine, line)
    assert call(engine, image_call(TWO, f"{ASIDE}-aiidpd-new-0123", ASIDE))
    assert "the last of its name" in call(engine, "DELETE /containers/vllm")
    engine.rename("vllm", OLD)
    assert call(engine, f"POST /containers/{ASIDE}/start") == ""
    del engine.containers[OLD]
    assert "neither a label" in call(engine, f"POST /containers/{ASIDE}/start")
    engine.run("vllm", ONE, image_id(1))
    assert "neither a label" in call(engine, f"POST /containers/{ASIDE}/start")
    assert "neither a label" in call(engine, f"POST /containers/{ASIDE}/pause")
    # It may be ended whoever is there.
    assert call(engine, f"POST /containers/{ASIDE}/stop") == ""
    assert call(engine, f"DELETE /containers/{ASIDE}") == ""


def test_a_name_that_is_the_beginning_of_an_id_permits_nothing():
    engine = made_engine()
    engine.run(f"{'0' * 63}-aiidpd-new-0123-beside", TWO, image_id(2))
    engine.containers["0" * 63] = engine.containers["vllm"]  # as an engine answers that finds it by its id
    assert "neither a label" in call(engine, f"POST /containers/{'0' * 63}-aiidpd-new-0123-beside/start")


def test_a_rule_names_one_by_the_place_it_has_or_had():
    rules = (Rule(name="db", acts=("upgrade", "start", "stop"), images=("docker.io/vllm/*",)),)
    engine = made_engine()
    new = "db-aiidpd-new-0123"
    assert "neither a label" in call(engine, image_call(TWO, new, "db"))
    assert call(engine, image_call(TWO, new, "db"), rules) == ""
    assert call(engine, "POST /containers/db/rename?name=db-aiidpd-old-0123", rules) == ""
    assert call(engine, f"POST /containers/{new}/rename?name=db", rules) == ""
    assert call(engine, "POST /containers/db/start", rules) == ""
    assert call(engine, image_call("evil/x:1", new, "db"), rules).startswith("403")


def test_steps_of_one_name_go_on_one_at_a_time():
    engine = made_engine()
    judgement = Judgement(engine.fetch, (), "")
    engine.run(NEW, TWO, image_id(2))

    def key(line: str) -> str:
        method, target = line.split(" ")
        matched = match(parse_request(f"{method} {target} HTTP/1.1\r\nHost: d\r\n\r\n".encode()))
        subject, _ = judgement.subject(matched.container)
        assert subject is not None
        return key_of(matched, subject)

    assert key(f"DELETE /containers/{NEW}") == key("DELETE /containers/vllm") == key(image_call(TWO))
    assert key(f"POST /containers/{NEW}/start") == key("POST /aiidpd/copies/vllm")
    assert key("POST /containers/vllm/start") == key(f"POST /containers/{NEW}/stop") == ""
    assert key("POST /aiidpd/pulls/vllm?image=a") not in ("", key("POST /aiidpd/copies/vllm"))


names = st.sampled_from(["vllm", "db", OLD, NEW, ASIDE, "vllm-aiidpd-new-99ff", "db-aiidpd-new-0123"])
images = st.sampled_from(
    [
        ONE,
        TWO,
        "evil/x:1",
        image_id(1),
        image_id(2),
        image_id(3),
        "vllm/vllm-openai",
        "..",
        "a/../b",
        "Evil",
        "x y",
    ]
)
lines = st.one_of(
    st.builds(image_call, images, names | st.just(""), names),
    st.builds("POST /containers/{}/rename?name={}".format, names, names),
    st.builds("POST /containers/{}/{}".format, names, st.sampled_from(["start", "stop", "kill"])),
    st.builds("DELETE /containers/{}".format, names),
    st.builds("POST /aiidpd/copies/{}?name={}".format, names, names),
)


@given(st.lists(lines, max_size=14), st.booleans(), st.integers(0, 3))
def test_whatever_is_called_for_only_images_of_the_same_repository_get_into_the_place(
    course: list[str], recreate: bool, moves: int
):
    engine = made_engine(aiidpd_upgrade="allow", **({"aiidpd_heal": "recreate"} if recreate else {}))
    host = json.dumps(engine.containers["vllm"]["HostConfig"])
    if moves:  # a tag leads to another image as a container is about to be made of it

        def move() -> None:
            engine.tags[f"docker.io/{TWO}"] = image_id(moves)

        engine.before_create = move
    for line in course:
        try:
            call(engine, line)
        except (Refusal, Malformed):
            continue
        holders = {place_of(each).base for each in engine.containers if place_of(each).kind != BESIDE}
        assert holders == {"vllm", "db"}
        assert engine.containers["db"]["Image"] == image_id(3)
        for name, each in engine.containers.items():
            if name == "db":
                continue
            reference = parse(each["Config"]["Image"])
            assert reference is not None
            assert reference.repository == OWN
            assert each["Image"] in (image_id(1), image_id(2))
            assert place_of(name).kind == BESIDE or json.dumps(each["HostConfig"]) == host
            assert not each["HostConfig"]["Privileged"]
