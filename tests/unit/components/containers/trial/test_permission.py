"""Permission to try another image in the place of a container."""

from __future__ import annotations

import pytest

from aiidpd.components.containers.settings import UpgradeSettings
from aiidpd.components.containers.trial.permission import not_permitted
from tests.tables import made


@pytest.mark.parametrize(
    ("labels", "allow", "words"),
    [
        ({}, (), "nobody has allowed it"),
        ({}, ("vllm-*",), None),
        ({}, ("other",), "nobody has allowed it"),
        ({"aiidpd.upgrade": "allow"}, (), None),
        ({"aiidpd.upgrade": "off"}, ("*",), "says off"),
        ({"aiidpd.upgrade": "yes\x1b[2J"}, ("*",), r"says 'yes\x1b[2J'"),
    ],
)
def test_the_label_wins_over_the_configuration(
    labels: dict[str, str], allow: tuple[str, ...], words: str | None
) -> None:
    found = not_permitted("vllm-1", labels, made(UpgradeSettings, allow=allow))
    if words is None:
        assert found is None
    else:
        assert found is not None
        assert words in found.reason
        assert "aiidpd.upgrade=allow" in found.remedy
