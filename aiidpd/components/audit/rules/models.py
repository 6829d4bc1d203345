"""Rules on models, and on engines that run code of theirs (pure)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aiidpd.components.audit.facts import Facts, ModelFacts
from aiidpd.components.audit.rule import Found, Level, rule, swap
from aiidpd.contracts.inspections import Inspection

_TRUST: Final = frozenset({"--trust-remote-code", "--trust_remote_code"})
_OFF: Final = frozenset({"false", "0", "no"})


@rule(
    "model-pickle",
    Level.MEDIUM,
    "The weights are pickles",
    why="To load them is to run the code in them, with the rights of the engine.",
    remedy="take the model as safetensors or GGUF, or convert it on a machine that has nothing to lose",
)
def model_pickle(model: ModelFacts, _: Facts) -> Iterator[Found]:
    """Find models with pickled weights; where a safe form lies beside them, engines take that first."""
    if model.pickles:
        shown = ", ".join(model.pickles[:3])
        level = Level.LOW if model.safe else None
        yield Found(f"it has {shown}", model.folder, severity=level)


@rule(
    "model-code",
    Level.LOW,
    "The model brings code of its own",
    why="It loads with trust_remote_code alone: then whoever wrote the model runs programs here.",
    remedy="read the code, and pin the revision that was read",
)
def model_code(model: ModelFacts, _: Facts) -> Iterator[Found]:
    """Find models whose configuration names code to be loaded."""
    if model.own_code:
        yield Found("its config.json names code to be loaded (auto_map)", model.folder)


@rule(
    "model-writable",
    Level.MEDIUM,
    "Every user may write the model",
    why="Other weights answer from the next load on, and no hash that nobody compares shows it.",
    remedy="take the right to write from others: chmod -R o-w",
)
def model_writable(model: ModelFacts, _: Facts) -> Iterator[Found]:
    """Find models with files that everybody may write."""
    if model.writable:
        yield Found(f"everybody may write {', '.join(model.writable[:3])}", model.folder)


@rule(
    "trust-remote-code",
    Level.HIGH,
    "The engine runs code that comes with a model",
    why="Whoever can change the model's repository runs programs in this container.",
    remedy="take --trust-remote-code out; where a model needs it, pin its revision",
)
def trust_remote_code(container: Inspection, _: Facts) -> Iterator[Found]:
    """Find engines that were told to trust the code of models."""
    words = [word for each in container.arguments for word in each.split()]
    for place, word in enumerate(words):
        name, sign, value = word.partition("=")
        if name not in _TRUST:
            continue
        following = words[place + 1].lower() if place + 1 < len(words) else ""
        if (value.lower() if sign else following) not in _OFF:
            yield Found(f"it is started with {name}", "command", (swap("command", word, None),))
            return
    if container.environment.get("TRUST_REMOTE_CODE", "").strip().lower() in ("1", "true", "yes", "on"):
        yield Found("TRUST_REMOTE_CODE is set", "environment.TRUST_REMOTE_CODE")


RULES: Final = (model_pickle, model_code, model_writable)
CONTAINER_RULES: Final = (trust_remote_code,)
