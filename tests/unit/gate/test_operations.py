from __future__ import annotations

import pytest

from aiidpd.gate.copies import Copied
from aiidpd.gate.operations import Done, operate
from aiidpd.gate.permission import subject_of
from aiidpd.gate.rules import Access, Matched
from aiidpd.gate.settings import Rule
from tests.fakes.fetched_engine import FetchedEngine, image_id

NEW = "vllm-aiidpd-new-0123abcd"
ONE, TWO = "vllm/vllm-openai:v1", "vllm/vllm-openai:v2"


def done(engine: FetchedEngine, verb: str, rules: tuple[Rule, ...] = (), **query: str) -> Done:
    document = engine.containers["vllm"]
    subject = subject_of(document)
    assert subject is not None
    matched = Matched("POST", Access.ACT, "", "/", tuple(query.items()), "vllm", verb)
    return operate(engine.fetch, matched, subject, document, rules)


@pytest.fixture
def engine() -> FetchedEngine:
    made = FetchedEngine()
    made.add_image(2, TWO)
    made.add_image(4, "ghcr.io/org/a:1")
    made.run("vllm", ONE, made.add_image(1, ONE), aiidpd_upgrade="allow")
    return made


def test_a_copy_is_of_the_same_image_and_a_trial_of_another(engine: FetchedEngine):
    assert done(engine, "copy", name=NEW).made.identity == engine.containers[NEW]["Id"]
    assert engine.containers[NEW]["Image"] == image_id(1)
    other = f"{NEW[:-1]}e"
    assert done(engine, "image", name=other, image=TWO).made.identity == engine.containers[other]["Id"]
    assert engine.containers[other]["Image"] == image_id(2)


def test_without_a_name_nothing_is_made(engine: FetchedEngine):
    assert done(engine, "image", image=TWO).made == Copied(status=204)
    assert done(engine, "image", image="vllm/vllm-openai:v9").made == Copied(status=204)
    assert done(engine, "image", image="ghcr.io/org/a:1").made.status == 403
    assert list(engine.containers) == ["vllm"]


def test_a_pull_is_a_query_for_the_engine_and_never_by_an_id(engine: FetchedEngine):
    query = (("fromImage", "docker.io/vllm/vllm-openai"), ("tag", "v9"))
    assert done(engine, "pull", image="vllm/vllm-openai:v9") == Done(query=query)
    assert done(engine, "pull", image=image_id(2)).made.status == 403
    assert done(engine, "pull", image="ghcr.io/org/a:2").made.status == 403
    assert all(method == "GET" for method, _ in engine.calls)


def test_the_rules_that_name_the_container_name_repositories(engine: FetchedEngine):
    rules = (Rule(name="vllm", acts=("upgrade",), images=("ghcr.io/org/*",)),)
    assert done(engine, "pull", rules, image="ghcr.io/org/a:2").query[0] == ("fromImage", "ghcr.io/org/a")
    others = (Rule(name="db", acts=("upgrade",), images=("ghcr.io/org/*",)),)
    assert done(engine, "pull", others, image="ghcr.io/org/a:2").made.status == 403
