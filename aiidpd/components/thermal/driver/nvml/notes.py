"""Facts about one card that are found out once and hold for good."""

from __future__ import annotations


class Notes:
    """``lacks`` has the field numbers that the card does not know, ``fan_count`` how many fans it has.

    No dataclass: that would cost the child a megabyte.
    """

    def __init__(self) -> None:
        self.lacks: set[int] = set()
        self.fan_count: int | None = None
        self.lacks_rpm = False
