"""Local time, on both sides of a change of clocks."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo


class LocalZone(tzinfo):
    """Local time by the rules that systemd uses too: ``TZ`` in any of its forms, else /etc/localtime.

    ``zoneinfo`` can't read a ``TZ`` such as ``CET-1CEST,M3.5.0,M10.5.0/3``, and the fixed offset that
    ``datetime.astimezone()`` gives is wrong on the other side of a change of clocks.
    """

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else _local(moment).utcoffset()

    def dst(self, _: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str | None:
        return None if moment is None else _local(moment).tzname()

    def fromutc(self, moment: datetime) -> datetime:
        # ``moment`` holds UTC fields; the C library finds the local ones and their fold.
        seconds = (moment.replace(tzinfo=None) - datetime(1970, 1, 1)).total_seconds()  # noqa: DTZ001
        return datetime.fromtimestamp(seconds).replace(tzinfo=self)  # noqa: DTZ006 -- local time is the point


def _local(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None).astimezone()
