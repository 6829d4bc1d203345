"""Tables [daemon], [telemetry] and [control]: folders, the log, the sockets and who may use them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field

from aiidpd.config import values
from aiidpd.config.fields import (
    AbsolutePath,
    Clash,
    Duration,
    Effect,
    Table,
    Whole,
    lies_in,
)
from aiidpd.config.units import Malformed

METRICS_GROUP: Final = "aiidpd-metrics"
AUTO_GROUP: Final = "auto"


class DaemonSettings(Table):
    """Folders, start and log of the daemon."""

    state_directory: AbsolutePath = Field(
        default=Path("/var/lib/aiidpd"),
        description="Where the event history and everything else lies that must survive a restart.",
    )
    runtime_directory: AbsolutePath = Field(
        default=Path("/run/aiidpd"),
        description="Where the sockets control.sock and metrics.sock are made. "
        "A second instance needs its own.",
    )
    ready_timeout: Duration = Field(
        default=10.0,
        ge=0.1,
        le=600,
        description="How long the start waits for each worker's first pass before it reports ready. "
        "A worker that is late counts as degraded and continues to try. "
        "Keep it under the unit's TimeoutStartSec.",
    )
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Effect.LIVE] = Field(
        default="info", description="The least severe messages that are logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description='How log lines look: "auto" is "console" on a terminal and "json" elsewhere.',
    )

    def contradictions(self) -> Iterator[Clash]:
        """See the base class."""
        if lies_in(self.state_directory, self.runtime_directory):
            reason = "lies in daemon.runtime_directory, which is emptied when the service stops"
            yield Clash("state_directory", reason, "choose a folder outside it", "runtime_directory")
        try:
            values.check_socket_path(self.runtime_directory / "metrics.sock")
        except Malformed as error:
            yield Clash("runtime_directory", error.reason, error.remedy)


class TelemetrySettings(Table):
    """Metrics for Prometheus, on the socket metrics.sock and on a TCP port."""

    listen: Annotated[str, BeforeValidator(values.loopback)] = Field(
        default="127.0.0.1:9753",
        description="The loopback address and port for a Prometheus that can't scrape a Unix socket. "
        "Port 0 takes a free one; the empty string switches TCP off.",
    )
    hosts: tuple[Annotated[str, BeforeValidator(values.host_name)], ...] = Field(
        default=(),
        description="Further names under which the TCP port is reached, as a proxy passes them on. A request "
        "for a host that is neither one of these nor a loopback address is refused, so that no page in a "
        "browser can read the metrics by a name of its own.",
    )
    group: Annotated[str, BeforeValidator(values.optional_group)] = Field(
        default="auto",
        description=f'The group that owns metrics.sock. "auto" is {METRICS_GROUP} where there is such a '
        "group and the daemon may give files to it, otherwise control.group, whose members may read "
        "everything. The empty string leaves the group of the process.",
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Address and port to listen on, or None where TCP is off."""
        return values.split_address(self.listen) if self.listen else None


class ControlSettings(Table):
    """Access to the daemon by the socket control.sock."""

    admins: Annotated[tuple[Annotated[str | int, BeforeValidator(values.account)], ...], Effect.LIVE] = Field(
        default=(),
        description="The users, by name or number, who may change things besides root and the daemon's own "
        "user. "
        "Members of the group may only read.",
    )
    group: Annotated[str, BeforeValidator(values.optional_group)] = Field(
        default="aiidpd",
        description="The group that owns the socket. The empty string leaves the group of the process.",
    )
    max_connections: Whole = Field(
        default=64,
        ge=2,
        le=4096,
        description="How many connections are held at once on each socket; at most half of them are streams.",
    )
