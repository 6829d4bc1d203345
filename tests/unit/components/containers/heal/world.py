"""A world of containers that a test changes, and the decisions about it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiidpd.components.containers.heal import progress
from aiidpd.components.containers.heal.decide import step
from aiidpd.components.containers.heal.dependencies import dependencies
from aiidpd.components.containers.heal.policy import policy_of
from aiidpd.components.containers.heal.state import (
    Begin,
    Decision,
    Effect,
    Heal,
    HealState,
    Observed,
    Outcome,
    Report,
    StopLoop,
    Topic,
)
from aiidpd.components.containers.runtime import ContainerReading
from aiidpd.components.containers.settings import HealSettings
from aiidpd.contracts.engines import Verdict
from aiidpd.contracts.messages import Cure, HealRequested
from tests.tables import made

BEGAN = 1_800_000_000.0


class World:
    """Containers by name, and what the policy makes of them as ``time`` goes on."""

    def __init__(self, **settings: Any) -> None:
        self.settings = made(HealSettings, **({"mode": "restart", "cooldown": 0.0} | settings))
        self.time = BEGAN
        self.minute = 0
        self.state = HealState()
        self.containers: dict[str, ContainerReading] = {}
        self.stopped: set[str] = set()
        self.tried: set[str] = set()
        self.requests: dict[str, HealRequested] = {}
        self.verdicts: dict[str, Verdict] = {}
        self.decisions: dict[str, Decision] = {}
        self.effects: list[Effect] = []
        self.heals: list[tuple[float, Heal]] = []

    def add(self, name: str, *, age: float = 1e6, labels: dict[str, str] | None = None, **more: Any) -> None:
        given = {"state": "running", "health": "healthy", "started_at": self.time - age} | more
        self.containers[name] = ContainerReading(
            f"id-{name}", name, "image", labels={f"aiidpd.{k}": v for k, v in (labels or {}).items()}, **given
        )

    def change(self, name: str, **more: Any) -> None:
        self.containers[name] = replace(self.containers[name], **more)

    def start(self, name: str, health: str | None = "starting", **more: Any) -> None:
        """Begin a run, as by a person."""
        self.stopped.discard(f"id-{name}")
        given = {"restart_count": 0, "exit_code": None} | more
        self.change(name, state="running", health=health, started_at=self.time, **given)

    def die(self, name: str, *, waits: bool = False) -> None:
        """End a run; Docker's policy starts the next at once, or after a wait."""
        count = self.containers[name].restart_count + 1
        if waits:
            self.change(name, state="restarting", health=None, restart_count=count, exit_code=1)
        else:
            self.start(name, restart_count=count)

    def ask(self, name: str, fault: str = "engine_hung", cure: Cure = Cure.RESTART) -> None:
        self.requests[f"id-{name}"] = HealRequested(
            reason="no token for 10 minutes", container=f"id-{name}", name=name, fault=fault, cure=cure,
            hold_seconds=60.0, evidence={"steps": 7},
        )  # fmt: skip

    def observed(self) -> Observed:
        readings = tuple(self.containers.values())
        policies = {each.id: policy_of(each, self.settings) for each in readings}
        return Observed(
            readings,
            policies,
            now=self.time,
            wall=self.time,
            minute=self.minute,
            stopped=frozenset(self.stopped),
            requests=dict(self.requests),
            tried=frozenset(self.tried),
            verdicts=dict(self.verdicts),
            relations=dependencies(readings, {key: each.depends_on for key, each in policies.items()}),
        )

    def look(self, seconds: float = 0.0) -> list[Effect]:
        """Let ``seconds`` pass, then decide; return what is to be done."""
        self.time += seconds
        self.state, decisions, effects = step(self.state, self.observed(), self.settings)
        self.decisions = {each.name: each for each in decisions}
        self.effects += effects
        self.heals += [(self.time, effect.heal) for effect in effects if isinstance(effect, Begin)]
        return list(effects)

    def act(self, name: str, *, well: bool = True) -> None:
        """Carry out the heal of ``name``; it is well then, or not."""
        identity = f"id-{name}"
        heal = self.state.tracks[identity].heal
        assert heal is not None
        self.state = progress.prepared(self.state, identity, cure=heal.cure, incident="i-1", now=self.time)
        self.start(name, "healthy" if well else "unhealthy")
        self.requests.pop(identity, None)
        self.state = progress.acted(self.state, identity, self.containers[name], self.time)

    def begun(self) -> list[str]:
        return [heal.name for _, heal in self.heals]

    def reports(self, topic: Topic) -> list[Report]:
        return [each for each in self.effects if isinstance(each, Report) and each.topic is topic]

    def outcomes(self) -> list[Outcome | None]:
        return [each.outcome for each in self.reports(Topic.HEAL_ENDED)]

    def loops_stopped(self) -> list[str]:
        return [each.name for each in self.effects if isinstance(each, StopLoop)]
