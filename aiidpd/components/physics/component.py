"""Component physics: commands that estimate, and the view of the claims on this machine. It has no task."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from aiidpd.component import Component, Context, Spec
from aiidpd.components.physics.bounds import bounds_of
from aiidpd.components.physics.catalog import read_claims, read_hardware
from aiidpd.components.physics.conditions import update_file
from aiidpd.components.physics.settings import PhysicsSettings
from aiidpd.contracts.claims import CLAIMS, ClaimsView
from aiidpd.kernel.reading import Reading
from aiidpd.physics.claim_text import ClaimError

NAME: Final = "physics"


def build(context: Context) -> Component:
    """Return the component; it offers the view of the claims, as they were when the daemon started."""
    path = context.settings("physics", PhysicsSettings)().claims
    view = claims_view(path)
    update_file(context.conditions, str(path), view.problem)
    reading = Reading(view, context.clock.time(), context.clock.monotonic())
    context.views.offer(CLAIMS, lambda: reading)
    return Component()


def claims_view(path: Path) -> ClaimsView:
    """Return the claims of the file at ``path``, none where it is not there. Blocks."""
    try:
        return ClaimsView(bounds_of(read_claims(path), read_hardware()))
    except FileNotFoundError:
        return ClaimsView()
    except ClaimError as error:
        return ClaimsView(problem=str(error))
    except OSError as error:
        return ClaimsView(problem=f"it can't be read: {(error.strerror or 'error').lower()}")


SPEC: Final = Spec(NAME, {"physics": PhysicsSettings}, build)
