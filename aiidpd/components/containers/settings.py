"""Tables [containers], [containers.pause], [containers.logs] and [containers.usage]."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from aiidpd.config.fields import Duration, SocketPath, Table, Was, Whole


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


class ContainersSettings(Table):
    """Component containers: what the container runtime runs and in what state."""

    engine: Literal["auto", "docker", "simulated", "off"] = Field(
        default="auto",
        description='Who runs the containers: "docker" is a Docker Engine; "auto" is that too, but a machine '
        'that never had its socket is well without; "simulated" makes containers up and says so everywhere; '
        '"off" watches none, and stops and pauses none.',
    )
    socket: SocketPath = Field(default=Path("/run/docker.sock"), description="The Docker Engine's socket.")
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
    simulated_containers: Whole = Field(
        default=3, ge=0, le=1000, description='How many containers engine = "simulated" shows.'
    )
    pause: PauseSettings = PauseSettings()
    logs: LogSettings = LogSettings()
    usage: UsageSettings = UsageSettings()
