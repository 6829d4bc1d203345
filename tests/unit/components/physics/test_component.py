"""The component in the daemon: the view of claims, and the condition where their file can't be read."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from aiidpd.components.physics.catalog import read_hardware, read_shipped_claims
from aiidpd.components.physics.component import build, claims_view
from aiidpd.components.physics.settings import PhysicsSettings
from aiidpd.contracts.claims import CLAIMS, ClaimBounds, ClaimedFigure, ClaimsView
from aiidpd.kernel.bus import EventBus
from aiidpd.kernel.conditions import Conditions
from aiidpd.kernel.views import Views
from tests.fakes.clock import FakeClock
from tests.tables import made

ROOT = Path(__file__).resolve().parents[4]
CLAIM = (
    '[[claims]]\nname = "mine"\ntext = "mine"\nfigure = "decode"\nlow = 50\nhigh = 60\nendpoint = "local"\n'
    'setting = { weights = "8GB", bandwidth = "896GB/s" }\n'
)


def test_claims_on_an_endpoint_are_offered_with_their_limit(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    other = CLAIM.replace('"mine"', '"other"').replace('endpoint = "local"\n', "")
    lacking = CLAIM.replace('"mine"', '"lacking"').replace(', bandwidth = "896GB/s"', "")
    path.write_text(CLAIM + other + lacking)
    mine, unlimited = claims_view(path).claims
    assert mine == ClaimBounds(
        "mine", "mine", ClaimedFigure.DECODE, "local", of_batch=False, low=50, high=60, limit=112
    )
    assert (unlimited.name, unlimited.limit) == ("lacking", None)


def test_a_file_that_is_not_there_is_no_problem_and_one_that_is_none_is(tmp_path: Path) -> None:
    assert claims_view(tmp_path / "absent.toml").problem == ""
    (tmp_path / "claims.toml").write_text("claims = 1")
    assert "more than" in claims_view(tmp_path / "claims.toml").problem
    assert "is a directory" in claims_view(tmp_path).problem


def test_what_is_shipped_can_be_read_from_the_package_and_is_the_file_in_etc() -> None:
    assert len(read_shipped_claims().claims) == 10
    shipped = ROOT / "aiidpd/components/physics/claims.toml"
    assert shipped.read_bytes() == (ROOT / "etc/claims.toml").read_bytes()
    assert len(read_hardware().devices) >= 80


def test_the_daemon_offers_claims_or_says_why_not(tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    clock = FakeClock()
    conditions = Conditions(clock, EventBus())

    def started() -> ClaimsView:
        views = Views()
        settings = made(PhysicsSettings, claims=path)
        context = SimpleNamespace(
            clock=clock, conditions=conditions, views=views, settings=lambda *_: lambda: settings
        )
        assert build(context).tasks == ()
        reading = views.get(CLAIMS)
        assert reading is not None
        return reading.value

    path.write_text("claims = 1")
    assert started().claims == ()
    (condition,) = conditions.active()
    assert (condition.type, condition.subject) == ("claims_unreadable", str(path))
    path.write_text(CLAIM)
    assert [claim.name for claim in started().claims] == ["mine"]
    assert conditions.active() == ()
