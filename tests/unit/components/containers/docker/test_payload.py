from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiidpd.components.containers.docker.client import payload

MOMENTS = st.datetimes(min_value=datetime(1971, 1, 1), max_value=datetime(2200, 1, 1))  # noqa: DTZ001


def description(**changes: object) -> dict[str, object]:
    state = {
        "Status": "running",
        "OOMKilled": False,
        "ExitCode": 0,
        "StartedAt": "2026-11-23T01:49:05.434830936Z",
        "FinishedAt": "0001-01-01T00:00:00Z",
    }
    state.update(changes)
    return {
        "Id": "a" * 64,
        "Name": "/vllm",
        "RestartCount": 2,
        "State": state,
        "Config": {"Image": "vllm:1", "Labels": {"com.docker.compose.service": "chat"}},
        "HostConfig": {
            "RestartPolicy": {"Name": "always"},
            "DeviceRequests": [{"Driver": "", "Capabilities": [["gpu"]]}],
        },
    }


@given(MOMENTS, st.integers(0, 999_999_999), st.integers(0, 9), st.none() | st.integers(-14 * 60, 14 * 60))
def test_a_time_is_read_to_the_microsecond_in_every_precision_and_zone(
    moment: datetime, nanos: int, digits: int, zone: int | None
) -> None:
    fraction = f"{nanos:09d}"[:digits]
    tz = UTC if zone is None else timezone(timedelta(minutes=zone))
    local = moment.replace(microsecond=0, tzinfo=UTC).astimezone(tz)
    suffix = "Z" if zone is None else local.strftime("%z")[:3] + ":" + local.strftime("%z")[3:5]
    text = local.strftime("%Y-%m-%dT%H:%M:%S") + (f".{fraction}" if fraction else "") + suffix
    expected = local.timestamp() + float(f"0.{fraction or 0}")
    read = payload.parse_time(text)
    assert read is not None
    assert abs(read - expected) < 2e-6


@given(st.text(max_size=40) | st.from_regex(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?\Z"))
@example("9999-12-31T23:59:59-23:59")
@example("0000-01-01T00:00:00Z")
def test_any_text_is_read_or_refused_with_value_error(text: str) -> None:
    with suppress(ValueError):
        payload.parse_time(text)


def test_go_s_zero_time_is_no_time() -> None:
    assert payload.parse_time("0001-01-01T00:00:00Z") is None


def test_a_description_becomes_a_reading() -> None:
    reading = payload.reading(description())
    assert (reading.name, reading.image, reading.state) == ("vllm", "vllm:1", "running")
    assert (reading.service, reading.restart_policy, reading.gpu) == ("chat", "always", True)
    assert reading.restart_count == 2
    assert reading.exit_code is None
    assert reading.finished_at is None


@pytest.mark.parametrize(
    ("status", "health", "streak", "expected"),
    [
        ("running", "healthy", 0, "healthy"),
        ("running", "unhealthy", 3, "unhealthy"),
        ("running", "starting", 0, "starting"),
        ("running", "unhealthy", 0, None),  # its check was suspended; no probe has failed
        ("running", "none", 0, None),
        ("exited", "unhealthy", 3, None),  # Docker calls every container that ended unhealthy
        ("paused", "unhealthy", 0, None),
    ],
)
def test_only_a_failed_probe_of_a_running_container_is_unhealthy(
    status: str, health: str, streak: int, expected: str | None
) -> None:
    given_ = description(Status=status, Health={"Status": health, "FailingStreak": streak})
    assert payload.reading(given_).health == expected


@pytest.mark.parametrize("bad", [{}, {"Id": "a", "State": None}, {"Id": "a", "State": {"Status": "running"}}])
def test_what_is_not_a_description_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a container's description"):
        payload.reading(bad)


def test_events_are_read_and_the_probes_own_left_out() -> None:
    line = {
        "Type": "container",
        "Action": "health_status: unhealthy",
        "Actor": {"ID": "b" * 64, "Attributes": {"name": "vllm", "image": "vllm:1"}},
        "timeNano": 1795398548655144246,
    }
    event = payload.event(line)
    assert event is not None
    assert (event.action, event.detail, event.name) == ("health_status", "unhealthy", "vllm")
    assert abs(event.time - 1795398548.655144) < 1e-5
    assert payload.event({**line, "Action": "exec_start: /bin/true"}) is None
    assert payload.event({**line, "Type": "network", "Action": "connect"}) is None
    with pytest.raises(ValueError, match="not an event"):
        payload.event({"Type": "container"})


def test_a_restart_changes_the_fingerprint_even_where_the_text_stays() -> None:
    def summary(endpoint: str) -> dict[str, object]:
        networks = {"Networks": {"bridge": {"EndpointID": endpoint}}}
        return {
            "Names": ["/a"],
            "Image": "i",
            "State": "running",
            "Status": "Up 2 minutes",
            "NetworkSettings": networks,
        }

    assert payload.fingerprint(summary("one")) == payload.fingerprint(summary("one"))
    assert payload.fingerprint(summary("one")) != payload.fingerprint(summary("two"))
