"""A made-up runtime with the containers of one trial, and a daemon that may be killed at each act."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

from aiidpd.components.containers.trial.decide import ENDS, Act, next_act
from aiidpd.components.containers.trial.journal import left_behind
from aiidpd.components.containers.trial.state import ImageTrial, Phase, Place, Situation
from aiidpd.contracts.trials import Wish

ENTRY = ImageTrial(
    "t1", "llm", "a" * 64, "sha256:1", "llm:2", "sha256:2", "1f", Phase.TRYING, 5.0, 1.0, "first"
)  # fmt: skip


@dataclass
class World:
    """Containers by id, as a runtime has them, and what a daemon has on its disk."""

    disk: ImageTrial = ENTRY
    entry: ImageTrial = ENTRY
    containers: dict[str, tuple[str, str]] = field(default_factory=lambda: {ENTRY.old: ("llm", "first")})
    runs: int = 1
    crashes: bool = False  # the new image ends at once
    meddled: bool = False
    ended: Act | None = None
    acts: Counter[Act] = field(default_factory=Counter)

    def seen(self) -> Situation:
        def one(identity: str) -> Place | None:
            found = self.containers.get(identity)
            return None if found is None else Place(found[0], bool(found[1]), found[1])

        ours = (self.entry.old, "new", "beside")
        taken = any(found[0] == "llm" for key, found in self.containers.items() if key not in ours)
        return Situation(one(self.entry.old), one("new"), one("beside"), taken)

    def save(self, **fields: Any) -> None:
        self.disk = self.entry = replace(self.entry, **fields)

    def start(self, key: str) -> str:
        self.runs += 1
        run = "" if self.crashes and key != self.entry.old else f"run {self.runs}"
        self.containers[key] = (self.containers[key][0], run)
        return f"run {self.runs}"

    def step(self, wish: Wish, *, killed: bool = False) -> None:
        """Do one act; ``killed``: the process ends before it could note that on its disk."""
        if self.ended is not None:
            return
        seen, entry = self.seen(), self.entry
        if entry.stopped and seen.old and seen.old.runs and not entry.new_run and seen.old.name == "llm":
            self.entry = replace(entry, run=seen.old.run)
        act, _ = next_act(self.entry, seen, wish)
        self.acts[act] += 1
        if act in ENDS:
            self.ended = act
        elif act in (Act.KEEP, Act.RETURN):
            self.save(phase=Phase.KEEPING if act is Act.KEEP else Phase.RETURNING)
        elif act is not Act.SERVES:
            noted = self._do(act)
            if not killed:
                self.save(**noted)
        if killed:
            self.entry = left_behind(self.disk)

    def _do(self, act: Act) -> dict[str, Any]:
        """Carry out one act; return what is noted of it afterwards."""
        verb, _, which = act.name.partition("_")
        key = {"OLD": ENTRY.old, "NEW": "new", "BESIDE": "beside"}[which]
        match verb:
            case "CREATE":
                name = ENTRY.new_name if key == "new" else ENTRY.beside_name
                self.containers[key] = (name, "")
                return {key: key}
            case "STOP":
                if key == ENTRY.old:
                    self.save(stopped=True)  # first
                self.containers[key] = (self.containers[key][0], "")
                return {} if key == ENTRY.old else {"new_run": ""}
            case "START":
                run = self.start(key)
                return {} if key == ENTRY.old else {"new_run": run}
            case "REMOVE":
                assert not self.containers.pop(key)[1], f"{act} of one that runs"
                return {"beside": "", "new_run": ""} if key == "beside" else {}
        aside = ENTRY.old_name if key == ENTRY.old else ENTRY.new_name
        name = "llm" if verb == "NAME" else aside
        assert all(found[0] != name for found in self.containers.values()), f"{name} is taken"
        self.containers[key] = (name, self.containers[key][1])
        return {}

    def meddle(self, what: str) -> None:
        """Do what somebody else does."""
        if what == "the runtime restarts":
            for key, (name, run) in list(self.containers.items()):
                self.runs += 1
                self.containers[key] = (name, f"run {self.runs}" if run else "")
        elif what == "the machine restarts":
            self.containers = {key: (name, "") for key, (name, _) in self.containers.items()}
        elif what == "all is started":  # restart policy always
            for key in self.containers:
                self.start(key)
        elif what == "the new one ends" and "new" in self.containers:
            self.containers["new"] = (self.containers["new"][0], "")
        elif what == "the new one is removed":
            self.containers.pop("new", None)

    def settle(self) -> None:
        for _ in range(60):
            self.step(Wish.BACK)
            if self.ended is not None:
                return
        raise AssertionError(self)
