"""Group that owns the socket of the metrics."""

from __future__ import annotations

import grp
import os

from aiidpd.daemon.settings import AUTO_GROUP, METRICS_GROUP


def metrics_group(chosen: str, control: str) -> str:
    """Return the group of metrics.sock by ``telemetry.group``, where ``control`` is that of control.sock.

    "auto" is the group of the package where this process may give it a file: as root, or as its member.
    """
    if chosen != AUTO_GROUP:
        return chosen
    try:
        found = grp.getgrnam(METRICS_GROUP).gr_gid
    except KeyError:
        return control
    may = os.geteuid() == 0 or found == os.getegid() or found in os.getgroups()
    return METRICS_GROUP if may else control
