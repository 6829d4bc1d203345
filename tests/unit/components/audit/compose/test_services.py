from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.audit.compose.document import parse, value_of
from aiidpd.components.audit.compose.facts import facts_of
from aiidpd.components.audit.compose.ports import published
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.components.audit.compose.services import Project, load
from aiidpd.components.audit.evaluate import of_container
from aiidpd.components.audit.facts import Facts
from aiidpd.contracts.inspections import PublishedPort

BOMB = """\
a: &a [x, x, x, x, x, x, x, x, x, x]
b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]
c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]
d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]
e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d, *d]
f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e, *e]
services: {a: {image: x, labels: *f}}
"""
MERGE_BOMB = "a: &a {k0: x, k1: y}\n" + "".join(
    f"{now}: &{now} {{<<: [{', '.join(['*' + before] * 9)}]}}\n"
    for before, now in zip("abcdefgh", "bcdefghi", strict=True)
)


def write(folder: Path, text: str, name: str = "compose.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def project(folder: Path, text: str) -> Project:
    return load([write(folder, text)])


def rules(found: Project, name: str) -> set[str]:
    service = found.services[name]
    facts = facts_of(name, service.value, str(service.directory), found.volumes)
    return {each.rule for each in of_container(facts, Facts())}


def judge_all(folder: Path, text: str) -> None:
    found = project(folder, text)
    for name in found.services:
        rules(found, name)


def test_anchors_merges_and_extends_are_followed(tmp_path: Path):
    write(tmp_path, "services: {base: {cap_drop: [ALL], ports: ['1:1']}}", "base.yaml")
    found = project(
        tmp_path,
        """\
x-hardened: &hardened
  read_only: true
  security_opt: [no-new-privileges:true]
services:
  one:
    <<: *hardened
    extends: {file: base.yaml, service: base}
    ports: ["127.0.0.1:2:2"]
    image: i:1
""",
    )
    assert found.services["one"].value == {
        "read_only": True,
        "security_opt": ["no-new-privileges:true"],
        "cap_drop": ["ALL"],
        "ports": ["1:1", "127.0.0.1:2:2"],
        "image": "i:1",
    }
    assert {"cap-drop-all", "root-writable", "no-new-privileges"}.isdisjoint(rules(found, "one"))
    assert "port-everywhere" in rules(found, "one")


def test_a_later_file_is_laid_over_an_earlier_one(tmp_path: Path):
    base = write(tmp_path, "services: {a: {image: x, environment: [A=1, B=2], privileged: true}}")
    over = write(tmp_path, "services: {a: {environment: {B: 3}, privileged: !reset null}}", "over.yaml")
    value = load([base, over]).services["a"].value
    assert value["environment"] == {"A": "1", "B": 3}
    assert value["privileged"] is None


def test_what_a_file_includes_is_part_of_it(tmp_path: Path):
    write(tmp_path, "services: {b: {image: y}}", "b.yaml")
    found = project(tmp_path, "include: [b.yaml]\nservices: {a: {image: x}}")
    assert set(found.services) == {"a", "b"}


def test_defaults_of_variables_count_and_others_are_known_to_be_unknown(tmp_path: Path):
    found = project(
        tmp_path,
        "services: {a: {image: '${IMAGE:-x:1}', mem_limit: '${MEMORY}', user: '${USER_ID:?set it}',"
        " environment: {API_KEY: '${KEY}', COST: $$5}, ports: ['${BIND:-127.0.0.1}:${PORT}:80']}}",
    )
    service = found.services["a"]
    assert service.value["image"] == "x:1"
    assert service.value["environment"]["COST"] == "$5"
    assert service.unknown == {"mem_limit", "user", "environment", "ports"}
    assert {"memory-unlimited", "user-root", "secret-environment", "port-everywhere"}.isdisjoint(
        rules(found, "a")
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("services: [a, b]", "services must be a map, and is a list"),
        ("- services", "it is no map of services"),
        ("services: {a: [x]}", "services.a must be a map"),
        ("services: {a: {ports: 80}}", "services.a.ports must be a list, and is a single value"),
        ("services: {a: {cap_drop: {ALL: true}}}", "services.a.cap_drop must be a list, and is a map"),
        ("services: {a: {cap_drop: [[ALL]]}}", "services.a.cap_drop has an entry that is a list"),
        ("services: {a: {image: [x]}}", "services.a.image must be a single value"),
        ("services: {a: {logging: none}}", "services.a.logging must be a map"),
        ("services: {a: {environment: x}}", "services.a.environment must be a map or a list"),
        ("services: {a: {ports: ['x:y']}}", "'x:y' is no published port"),
        ("services: {a: {ports: ['70000:1']}}", "'70000' is no range of ports"),
        ("services: {'a b': {}}", "'a b' is no name of a service"),
        ("services: {a: {image: x}}\nservices: {}", "the key 'services' is there twice"),
        ("services: {a: {extends: a}}", "services.a extends itself"),
        ("services: {a: {extends: b}, b: {extends: a}}", "extends itself, by way of others"),
        ("services: {a: {extends: {service: nobody}}}", "extends nobody, which is not in"),
        ("services: {a: {extends: {file: nowhere.yaml, service: x}}}", "it does not exist"),
        ("services: &s {a: *s}", "the anchor 's' holds itself"),
        ("services: *nobody", "nobody"),
        ("services: {a: {<<: x}}", "<< merges maps alone"),
        ("a: 1\n---\nb: 2", "it holds more than one document"),
        ("a: b: c", "it is no YAML"),
        ("{[a]: b}", "a key is no text"),
        ("\x00", "it is no YAML"),
        ("[" * 200, "it is nested deeper than 64 levels"),
        ("include: [compose.yaml]", "files include each other"),
        ("include: [{path: 3}]", "include must name files"),
        (BOMB, "it stands for more than 100000 values"),
        (MERGE_BOMB, "it stands for more than 100000 values"),
    ],
)
def test_a_file_that_is_broken_or_hostile_is_refused_in_words_at_once(tmp_path: Path, text: str, words: str):
    began = time.process_time()
    with pytest.raises(ComposeError, match=re.escape(words)):
        judge_all(tmp_path, text)
    assert time.process_time() - began < 20


def test_a_file_that_is_huge_or_no_text_or_not_there_is_refused(tmp_path: Path):
    with pytest.raises(ComposeError, match="it is larger than 1048576 bytes"):
        project(tmp_path, "#" * (2 << 20))
    path = write(tmp_path, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ComposeError, match="it is no text in UTF-8"):
        load([path])
    with pytest.raises(ComposeError, match="it does not exist"):
        load([tmp_path / "nowhere.yaml"])


def test_an_empty_file_has_no_services(tmp_path: Path):
    assert project(tmp_path, "").services == {}
    assert project(tmp_path, "services:\n").services == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", [PublishedPort(80)]),
        ("8080:80", [PublishedPort(80, host_port=8080)]),
        ("127.0.0.1:8080:80", [PublishedPort(80, host_ip="127.0.0.1", host_port=8080)]),
        ("127.0.0.1::80", [PublishedPort(80, host_ip="127.0.0.1")]),
        ("[::1]:8080:80/udp", [PublishedPort(80, "udp", "::1", 8080)]),
        ("8000-8001:80-81", [PublishedPort(80, host_port=8000), PublishedPort(81, host_port=8001)]),
        ("${IP}:80:80", []),
    ],
)
def test_published_ports_as_people_write_them(text: str, expected: list[PublishedPort]):
    assert list(published([text])) == expected


def test_long_forms_say_the_same(tmp_path: Path):
    found = project(
        tmp_path,
        """\
services:
  a:
    image: i:1
    ports: [{target: 80, published: "8080", host_ip: 127.0.0.1}]
    volumes:
      - {type: bind, source: /var/run/docker.sock, target: /s, read_only: true}
      - {type: tmpfs, target: /t, tmpfs: {size: 1m}}
      - named:/n
    deploy:
      resources:
        limits: {memory: 1g, cpus: "2", pids: 5}
        reservations: {devices: [{driver: nvidia, device_ids: ["0"], capabilities: [gpu]}]}
volumes:
  named: {driver_opts: {type: none, o: bind, device: /etc}}
""",
    )
    facts = facts_of("a", found.services["a"].value, "/srv", found.volumes)
    assert facts.ports == (PublishedPort(80, host_ip="127.0.0.1", host_port=8080),)
    assert facts.tmpfs[0].size_bytes == 1 << 20
    assert (facts.memory_bytes, facts.cpu_limited, facts.pids_limit, facts.gpu) == (1 << 30, True, 5, True)
    assert {"engine-socket", "sensitive-path"} <= rules(found, "a")


def test_files_of_secrets_and_configs_are_mounts(tmp_path: Path):
    found = project(
        tmp_path,
        """
services:
  a:
    user: "1"
    secrets: [key, {source: socket, target: /s}, elsewhere, nowhere]
    configs: [{source: conf, target: etc/x}]
    volumes: [named:/n]
secrets:
  key: {file: ./key}
  socket: {file: "${SOCKET:-/run/docker.sock}"}
  elsewhere: {external: true}
configs:
  conf: {file: /etc/shadow}
""",
    )
    facts = facts_of("a", found.services["a"].value, "/srv", found.volumes)
    shown = [(each.source, each.destination, each.read_only) for each in facts.mounts]
    assert shown == [
        ("named", "/n", False),
        ("/srv/key", "/run/secrets/key", True),
        ("/run/docker.sock", "/s", True),
        ("/etc/shadow", "/etc/x", True),
    ]
    assert {"engine-socket", "sensitive-path"} <= rules(found, "a")


@pytest.mark.parametrize("given", ["a", "[[a]]", "{a: b}", "[{source: [a]}]", "[{target: {}}]", "[null]"])
def test_secrets_of_odd_shapes_are_no_mounts(tmp_path: Path, given: str):
    found = project(tmp_path, f"services: {{a: {{secrets: {given}}}}}\nsecrets: {{a: b, c: {{file: [d]}}}}")
    assert facts_of("a", found.services["a"].value, "/srv", {}).mounts == ()


def test_volumes_of_a_wrong_type_are_said_also_beside_secrets(tmp_path: Path):
    found = project(tmp_path, "services: {a: {volumes: x, secrets: [k]}}\nsecrets: {k: {file: k}}")
    with pytest.raises(ComposeError, match=r"services.a.volumes must be a list"):
        facts_of("a", found.services["a"].value, "/srv", {})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    [
        *(
            "image",
            "ports",
            "volumes",
            "environment",
            "cap_add",
            "deploy",
            "ulimits",
            "tmpfs",
            "healthcheck",
            "gpus",
        ),
        *(
            "logging",
            "devices",
            "security_opt",
            "restart",
            "mem_limit",
            "command",
            "labels",
            "user",
            "privileged",
        ),
    ]
)


@given(st.dictionaries(KEYS, VALUES))
def test_any_service_is_judged_or_refused(service: dict[str, object]):
    try:
        facts = facts_of("a", service, "/srv", {})
    except ComposeError:
        return
    for each in of_container(facts, Facts()):
        assert each.what.isprintable()


@given(st.text(max_size=60))
def test_any_text_is_a_tree_or_refused(text: str):
    with suppress(ComposeError):
        value_of(parse(text))
