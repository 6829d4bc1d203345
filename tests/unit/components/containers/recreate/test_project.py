"""The project of compose that labels tell of."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.recreate.project import arguments, find_service, up

PREFIX = "com.docker.compose."
V1 = {
    "config-hash": "abc",
    "container-number": "2",
    "oneoff": "False",
    "project": "llm",
    "project.config_files": "docker-compose.yml,more/gpu.yml",
    "project.working_dir": "/srv/llm",
    "service": "engine",
    "version": "1.29.2",
}


def container(**labels: str | None) -> dict[str, Any]:
    named = {**V1, **{key.replace("__", "."): value for key, value in labels.items()}}
    return {"Config": {"Labels": {PREFIX + key: value for key, value in named.items() if value is not None}}}


def test_the_first_version() -> None:
    service, why = find_service(container())
    assert why == ""
    assert service is not None
    assert service.paths == ("/srv/llm/docker-compose.yml", "/srv/llm/more/gpu.yml")
    assert (service.major, service.number, service.config_hash) == (1, "2", "abc")
    assert service.selectors == ("com.docker.compose.project=llm", "com.docker.compose.service=engine")
    assert " ".join(up(service, 9.6, never_pull=False)) == (
        "-p llm -f docker-compose.yml -f more/gpu.yml --project-directory /srv/llm "
        "up -d --no-deps --force-recreate --no-build -t 10 -- engine"
    )


def test_the_plugin_with_environment_files() -> None:
    service, _ = find_service(
        container(
            version="2.27.0",
            project__config_files="/srv/a.yml",
            project__environment_file="/srv/.env,/srv/b.env",
        )
    )
    assert service is not None
    assert service.major == 2
    assert service.paths == ("/srv/a.yml", "/srv/.env", "/srv/b.env")
    assert " ".join(arguments(service)) == (
        "-p llm -f /srv/a.yml --project-directory /srv/llm --env-file /srv/.env --env-file /srv/b.env"
    )
    assert " --pull never " in " ".join(up(service, 0, never_pull=True))


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"project": None}, ""),
        ({"service": None}, ""),
        ({"oneoff": "True"}, "it is a one-off container of `compose run`"),
        ({"project": "-p"}, "its labels name no project or service that compose would accept"),
        ({"project": "a b"}, "its labels name no project or service that compose would accept"),
        ({"service": "--help"}, "its labels name no project or service that compose would accept"),
        ({"project__working_dir": None}, "its labels do not name the compose file"),
        ({"project__working_dir": "srv"}, "its labels do not name the compose file"),
        ({"project__config_files": ""}, "its labels do not name the compose file"),
        ({"project__config_files": "-"}, "its labels do not name the compose file"),
        ({"project__config_files": "--help"}, "its labels do not name the compose file"),
    ],
)
def test_labels_that_lead_nowhere(labels: dict[str, str | None], why: str) -> None:
    assert find_service(container(**labels)) == (None, why)


@given(st.dictionaries(st.sampled_from(list(V1)), st.text()))
def test_whatever_labels_say_no_argument_is_an_option_of_theirs(labels: dict[str, str]) -> None:
    service, _ = find_service(
        {"Config": {"Labels": {PREFIX + key: text for key, text in {**V1, **labels}.items()}}}
    )
    if service is not None:
        words = up(service, 1, never_pull=False)
        at = words.index("up")
        assert [word for word in words[:at:2] if word not in ("-p", "-f", "--project-directory")] == []
        assert not any(word.startswith("-") for word in words[1:at:2])
        assert words[-2] == "--"
