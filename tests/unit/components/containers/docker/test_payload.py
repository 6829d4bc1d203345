from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiidpd.components.containers.docker.client import payload
from aiidpd.contracts.containers import Mount

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


def entry(status: str, endpoint: str = "one") -> dict[str, object]:
    networks = {"Networks": {"bridge": {"EndpointID": endpoint}}}
    return {
        "Id": "a" * 64,
        "Names": ["/a"],
        "Image": "i",
        "State": "running",
        "Status": status,
        "NetworkSettings": networks,
    }


def test_a_restart_shows_in_the_summary_by_its_endpoint_and_by_its_age() -> None:
    one, two = (payload.summary(entry("Up 2 minutes", each)) for each in ("one", "two"))
    assert one.text == payload.summary(entry("Up 3 weeks")).text
    assert one.text != two.text
    assert one.text != payload.summary(entry("Up 2 minutes (unhealthy)")).text
    reading = replace(payload.reading(description()), started_at=1000.0)
    assert one.fits(reading, 1000.0 + 150)
    assert not one.fits(reading, 1000.0 + 3600)
    assert payload.summary(entry("Created")).fits(reading, 5e9)


@pytest.mark.parametrize(
    ("words", "state", "health", "fits"),
    [
        ("Up 2 minutes", "running", None, True),
        ("Up 2 minutes", "paused", None, False),
        ("Up 2 minutes (healthy)", "running", "healthy", True),
        ("Up 2 minutes (healthy)", "running", "unhealthy", False),
        ("Up 2 minutes (health: starting)", "running", "starting", True),
        ("Up 2 minutes (unhealthy)", "running", None, True),  # its check is suspended
        ("Up 2 minutes", "running", "healthy", False),  # Podman's list does not tell
    ],
)
def test_a_reading_that_saw_more_than_the_words_is_made_anew(
    words: str, state: str, health: str | None, *, fits: bool
) -> None:
    """A container that was paused just after it was listed, and unpaused, has the same words again."""
    reading = replace(payload.reading(description()), state=state, health=health, started_at=1000.0)
    assert payload.summary(entry(words)).fits(reading, 1150.0) is fits


def human(seconds: int) -> str:
    """Say a duration as Docker does."""
    minutes, hours = seconds // 60, int(seconds / 3600 + 0.5)
    for bound, text in (
        (seconds < 1, "Less than a second"),
        (seconds == 1, "1 second"),
        (seconds < 60, f"{seconds} seconds"),
        (minutes == 1, "About a minute"),
        (minutes < 60, f"{minutes} minutes"),
        (hours == 1, "About an hour"),
        (hours < 48, f"{hours} hours"),
        (hours < 24 * 14, f"{hours // 24} days"),
        (hours < 24 * 60, f"{hours // 24 // 7} weeks"),
        (hours < 24 * 730, f"{hours // 24 // 30} months"),
    ):
        if bound:
            return text
    return f"{seconds // 3600 // 24 // 365} years"


@given(st.integers(0, 10**9) | st.integers(0, 10**5))
def test_an_age_in_words_bounds_the_age(seconds: int) -> None:
    for text in (f"Up {human(seconds)} (healthy)", f"Exited (0) {human(seconds)} ago"):
        bounds = payload.age(text)
        assert bounds is not None
        assert bounds[0] <= seconds <= bounds[1] + 1


HOSTILE = "\x1b]0;x\x07\n\u202e\ud800" + "A" * 60_000


def test_what_a_person_chose_is_bounded_and_printable() -> None:
    data = description(Error=HOSTILE)
    data["Name"] = "/" + HOSTILE
    labels = {f"aiidpd.{number}{HOSTILE}": HOSTILE for number in range(200)}
    labels |= {f"other.{number}": "x" for number in range(10_000)}
    labels["com.docker.compose.project"] = HOSTILE
    data["Config"] = {"Image": HOSTILE, "Labels": labels, "Env": [f"A{n}={HOSTILE}" for n in range(2000)]}
    data["Args"] = [HOSTILE] * 2000
    reading = payload.reading(data)
    for text in (reading.name, reading.image, reading.project, reading.error):
        assert len(text) <= 2000
        assert text.isprintable()
    assert len(reading.name) <= 256
    assert len(reading.labels) <= 64
    assert all(len(key) <= 256 and len(value) <= 8192 for key, value in reading.labels.items())
    assert len(reading.environment) <= 1024
    assert len(reading.arguments) <= 1025
    json.dumps(list(reading.arguments)).encode()
    event = payload.event(
        {
            "Type": "container",
            "Action": f"health_status: {HOSTILE}",
            "Actor": {"ID": "b" * 64, "Attributes": {"name": HOSTILE, "image": HOSTILE}},
            "timeNano": 1795398548655144246,
        }
    )
    assert event is not None
    assert all(len(text) <= 256 and text.isprintable() for text in (event.name, event.image, event.detail))


def test_long_names_stay_apart() -> None:
    assert payload.name("A" * 60_000) != payload.name("A" * 60_000 + "B")


@pytest.mark.parametrize("bad", ["", "../../etc", "a" * 200, "x\ny", None, 7])
def test_an_id_that_no_engine_gives_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="not an id"):
        payload.identity(bad)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "Id",
                        "State",
                        "Status",
                        "Config",
                        "HostConfig",
                        "Type",
                        "Action",
                        "Actor",
                        "ID",
                        "timeNano",
                    ]
                ),
                inner,
                max_size=6,
            )
        ),
        max_leaves=20,
    )
)
def test_any_answer_is_read_or_refused_with_value_error(data: object) -> None:
    for read in (payload.reading, payload.event, payload.summary):
        with suppress(ValueError):
            read(data)  # type: ignore[arg-type]


def test_podman_s_words_are_read_as_docker_s() -> None:
    """As Podman 4.3.1 writes them through its compatible socket."""
    stopped = description(Status="stopped", ExitCode=3, FinishedAt="2026-11-23T01:59:05Z")
    stopped["HostConfig"] = {"RestartPolicy": {"Name": "", "MaximumRetryCount": 0}, "DeviceRequests": None}
    reading = payload.reading(stopped)
    assert (reading.state, reading.exit_code, reading.restart_policy) == ("exited", 3, "no")
    checked = description(Health={"Status": "", "FailingStreak": 0, "Log": None})
    assert (payload.reading(checked).health, payload.reading(checked).checked) == (None, False)
    checked = description(Healthcheck={"Status": "healthy", "FailingStreak": 0})
    assert (payload.reading(checked).health, payload.reading(checked).checked) == ("healthy", True)
    line = {
        "Type": "container",
        "Action": "remove",
        "Actor": {"ID": "b" * 64, "Attributes": {"name": "t1", "containerExitCode": "0"}},
        "timeNano": 1795398548655144246,
    }
    event = payload.event(line)
    assert event is not None
    assert event.action == "destroy"
    bare = {**entry("Up Less than a second"), "NetworkSettings": {"Networks": None}}
    assert payload.summary(bare).name == "a"


def test_the_digest_of_the_image_is_beside_its_name() -> None:
    read = payload.reading({**description(), "Image": f"sha256:{'ab' * 32}"})
    assert (read.image, read.image_id) == ("vllm:1", f"sha256:{'ab' * 32}")
    assert payload.reading(description()).image_id == ""


def test_mounts_have_their_place_in_the_container_and_are_bounded() -> None:
    mounts: list[dict[str, object]] = [
        {"Type": "bind", "Source": "/srv/models", "Destination": "/models", "RW": False},
        {
            "Type": "volume",
            "Name": "v",
            "Source": "/var/lib/docker/volumes/v/_data",
            "Destination": "/v",
            "RW": True,
        },
        {"Type": "tmpfs", "Source": "", "Destination": "/tmp"},
        {"Source": "/odd"},
    ]
    read = payload.reading({**description(), "Mounts": mounts}).mounts
    assert read == (
        Mount("/srv/models", "/models", read_only=True),
        Mount("/var/lib/docker/volumes/v/_data", "/v"),
        Mount("/odd"),
    )
    many = [{"Source": f"/{each}", "Destination": "x" * 10**6} for each in range(2000)]
    bounded = payload.reading({**description(), "Mounts": many}).mounts
    assert len(bounded) <= 1024
    assert max(len(each.destination) for each in bounded) <= 8192
