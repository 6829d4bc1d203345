"""Tables [containers], [containers.pause], [containers.logs], [containers.usage] and [containers.heal]."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from aiidpd.config.fields import Clash, ContainerName, Duration, SocketPath, Table, Text, Unit, Was, Whole
from aiidpd.config.units import parse_budget, parse_duration, parse_hours


class PauseSettings(Table):
    """Pauses of containers that gpu.governor.back_off_containers names."""

    longest: Annotated[Duration, Was("containers.longest_pause")] = Field(
        default=120.0,
        ge=1,
        le=600,
        description="For how long at most such a container is paused at a stretch, however hot the GPU "
        "stays. Clients that wait less give up.",
    )
    rest: Annotated[Duration, Was("containers.rest_between_pauses")] = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="For how long at least such a container runs before it is paused again.",
    )


class LogSettings(Table):
    """Logs of the containers that serve models or use a GPU."""

    interval: Duration = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="How often the newest lines of their logs are read, to see a storm of lines and a GPU "
        "that the container has lost. Less than a second counts as one; 0: never. Why a container died is "
        "read from its log in any case.",
    )
    lines: Whole = Field(
        default=1000, ge=10, le=20_000, description="How many lines of each log are read at a time, at most."
    )
    storm_lines_per_second: Whole = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="From how many lines a second on, in three readings in a row, a log is a storm: it fills "
        "the disk and hides what matters. It ends with three readings of less than half of that.",
    )


class UsageSettings(Table):
    """Use of CPU, memory and disks by the processes of containers, as the kernel counts it."""

    memory_horizon: Duration = Field(
        default=86400.0,
        ge=0,
        le=2592000,
        description="A container whose memory only grows is reported when it will reach its limit, or use "
        "up the host's memory, within this time; 0: never.",
    )


def _budget(value: str) -> str:
    parse_budget(value)
    return value


def _hours(value: str) -> str:
    parse_hours(value)
    return value


def _optional_budget(value: str) -> str:
    return value and _budget(value)


def _optional_duration(value: object) -> float | None:
    return None if value in ("", None) else parse_duration(value)


BudgetText = Annotated[Text, AfterValidator(_budget)]
HoursText = Annotated[Text, AfterValidator(_hours)]
OptionalDuration = Annotated[float | None, BeforeValidator(_optional_duration), Unit.DURATION]


class HealRule(Table):
    """Healing of the containers that a rule matches. What is not set is as in [containers.heal]."""

    container: Text = Field(
        default="",
        examples=["vllm-*"],
        description="The names of the containers that are meant; * stands for any text. Of container, "
        "project and service at least one is set, and all that are set must match. The first rule that "
        "matches counts.",
    )
    project: Text = Field(default="", description="The name of their compose project, likewise.")
    service: Text = Field(default="", description="The name of their compose service, likewise.")
    mode: Literal["", "restart", "recreate", "notify", "off"] = Field(
        default="", description="As containers.heal.mode."
    )
    budget: Annotated[Text, AfterValidator(_optional_budget)] = Field(
        default="", description="As containers.heal.budget."
    )
    grace: OptionalDuration = Field(default=None, ge=0, le=86400, description="As containers.heal.grace.")
    drain: OptionalDuration = Field(default=None, ge=0, le=3600, description="As containers.heal.drain.")
    stop_grace: OptionalDuration = Field(
        default=None, ge=0, le=600, description="As containers.heal.stop_grace."
    )
    quiet_hours: HoursText = Field(default="", description="As containers.heal.quiet_hours.")
    depends_on: tuple[ContainerName, ...] = Field(
        default=(),
        description="The containers (or services of the same compose project) that must run first: while "
        "one of them is down or is healed itself, a container that needs it is not healed.",
    )
    follow_restarts: bool = Field(
        default=False,
        description="Restart the container also after one of those that it depends on was healed.",
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if not (self.container or self.project or self.service):
            yield Clash("container", "is missing", "set container, project or service: a rule needs one")


class HealSettings(Table):
    """Heals of containers that don't do their work. A container's labels win over these keys."""

    mode: Literal["restart", "recreate", "notify", "off"] = Field(
        default="notify",
        description="What is done about a container that is unhealthy, hung or loops, where neither its "
        'label aiidpd.heal nor a rule says so: "restart" it, within a budget; "recreate" it too where a '
        'restart does not help; "notify" says what is wrong; "off" says nothing of heals either.',
    )
    dry_run: bool = Field(
        default=False,
        description="Decide and say what would be done, and do nothing. What a person requests is done.",
    )
    budget: BudgetText = Field(
        default="5/1h",
        description="How many heals, and ends that nobody asked for, a container may have in which time. "
        "After that it is parked: left alone, and stopped if it loops, until a person starts it or says "
        "`aiidpctl containers unpark NAME`.",
    )
    grace: Duration = Field(
        default=300.0,
        ge=0,
        le=86400,
        description="How long a container may be unhealthy after its start, since it may still load; and how "
        "long a heal has until it counts as failed.",
    )
    backoff_initial: Duration = Field(
        default=10.0,
        ge=0,
        le=3600,
        description="How long to wait after a container's first heal before its second; each further wait is "
        "twice as long, give or take a fifth.",
    )
    backoff_cap: Duration = Field(default=600.0, ge=0, le=86400, description="The longest such wait.")
    drain: Duration = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="How long a heal waits for the requests that an engine is working on, where they are "
        "known. An engine that is hung is not waited for.",
    )
    stop_grace: Duration = Field(
        default=10.0,
        ge=0,
        le=600,
        description="How long a container has to end when it is healed, before it is killed.",
    )
    concurrent: Whole = Field(
        default=2, ge=1, le=100, description="How many containers are healed at once, their loading included."
    )
    cooldown: Duration = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="For how long a container is left alone after somebody else has created, removed, "
        "renamed, stopped or started it or one of its compose project.",
    )
    quiet_hours: HoursText = Field(
        default="",
        examples=["08:00-18:00"],
        description="The hours of the day (local time) in which nothing is healed by itself; empty: none.",
    )
    rules: tuple[HealRule, ...] = Field(
        default=(),
        description="Other values for some containers, one [[containers.heal.rules]] each, at the end of "
        "this table.",
    )


class UpgradeSettings(Table):
    """Trials of another image in the place of a container, by `aiidpctl bench guard`."""

    allow: tuple[Text, ...] = Field(
        default=(),
        examples=[("vllm-*",)],
        description="The names of the containers in whose place another image may be tried; * stands for any "
        "text. A container's label aiidpd.upgrade (allow or off) wins.",
    )
    pull_timeout: Duration = Field(
        default=3600.0, ge=1, le=86400, description="How long the pull of an image may take."
    )


class ContainersSettings(Table):
    """Component containers: what the container runtime runs and in what state."""

    engine: Literal["auto", "docker", "simulated", "off"] = Field(
        default="auto",
        description='Who runs the containers: "docker" is a Docker Engine; "auto" is that too, but a machine '
        'that never had its socket is well without; "simulated" makes containers up and says so everywhere; '
        '"off" watches none, and stops and pauses none.',
    )
    socket: SocketPath = Field(default=Path("/run/docker.sock"), description="The Docker Engine's socket.")
    gate: bool = Field(
        default=False,
        description="The socket is that of aiidpd-gate: containers are created anew, and other images tried "
        "in their places, by the gate's own copies, not by compose.",
    )
    reconcile_interval: Duration = Field(
        default=30.0,
        ge=0.1,
        le=3600,
        description="How often all containers are listed and compared with what the engine's events told. "
        "The engine drops events for slow listeners, so events alone don't suffice.",
    )
    call_timeout: Duration = Field(
        default=10.0, ge=0.1, le=600, description="How long one call to the engine may take."
    )
    emergency_grace: Duration = Field(
        default=2.0,
        ge=0,
        le=60,
        description="How long a container that gpu.emergency_stop names may take to end when a GPU is "
        "critically hot, before it is killed.",
    )
    simulated_containers: Whole = Field(
        default=3, ge=0, le=1000, description='How many containers engine = "simulated" shows.'
    )
    pause: PauseSettings = PauseSettings()
    logs: LogSettings = LogSettings()
    usage: UsageSettings = UsageSettings()
    heal: HealSettings = HealSettings()
    upgrades: UpgradeSettings = UpgradeSettings()
