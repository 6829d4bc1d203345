"""One user of a workload: its requests, one after another, in a chat with all that was said before (pure)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from aiidpd.components.bench.load.draws import Draws
from aiidpd.components.bench.load.text import code, prose
from aiidpd.components.bench.load.workloads import Content, Kind, Workload

_TASKS: Final = {
    Content.PROSE: "Continue this text at length, in plain prose, without a title:",
    Content.DOCUMENTS: "Answer from these documents alone, with your reasons: who did what, and where?",
    Content.CODE: "",
}
_DOCUMENT_TOKENS: Final = 600


@dataclass(frozen=True, slots=True)
class User:
    """Progress of user ``number``: requests so far, and the conversation that it is in.

    ``said`` are prompts and answers by turns, ``turns`` how many more the conversation has after the next.
    """

    number: int
    requests: int = 0
    conversation: int = 0
    said: tuple[tuple[str, str], ...] = ()
    turns: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request: what ``prompt`` says after what was ``said`` before, and how long the answer may be."""

    kind: Kind
    prompt: str
    max_tokens: int
    said: tuple[tuple[str, str], ...] = ()

    @property
    def is_page(self) -> bool:
        """Return whether it is for the list of models, and no prompt."""
        return self.kind.content is Content.MODELS


def request_of(user: User, workload: Workload, draws: Draws, nonce: str) -> Request:
    """Return the next request of ``user``. ``nonce`` is new in each run, so that no cache has a prompt."""
    names = (workload.name, user.number, user.requests)
    kind = draws.weighted([(each, each.weight) for each in workload.kinds], *names, "kind")
    answer = kind.answer.at(draws.unit(*names, "answer"))
    tokens = kind.prompt.at(draws.unit(*names, "prompt"))
    # Within a conversation all requests begin alike, which is what a cache is for.
    mark = "" if user.said else f"{nonce}-{user.number}-{user.requests}"
    return Request(kind, _prompt(kind, tokens, draws, names, mark), answer, user.said)


def wait_of(user: User, workload: Workload, draws: Draws) -> float:
    """Return for how many seconds ``user`` waits before its next request."""
    return draws.between(*workload.wait, workload.name, user.number, user.requests, "wait")


def after(user: User, workload: Workload, draws: Draws, request: Request, answer: str | None) -> User:
    """Return the user after its ``request`` was answered, or failed (None), which ends a conversation."""
    following = replace(user, requests=user.requests + 1)
    if workload.turns is None:
        return following
    left = user.turns
    if left is None:
        drawn = workload.turns.at(draws.unit(workload.name, user.number, user.conversation, "turns"))
        left = drawn - 1
    if left <= 0 or answer is None:
        return replace(following, conversation=user.conversation + 1, said=(), turns=None)
    said = (*user.said, ("user", request.prompt), ("assistant", answer))
    return replace(following, said=said, turns=left - 1)


def _prompt(kind: Kind, tokens: int, draws: Draws, names: tuple[object, ...], mark: str) -> str:
    task = _TASKS.get(kind.content, "")
    head = [mark] if mark else []
    left = max(1, tokens - 2 * len(head) - len(task.split()))
    match kind.content:
        case Content.CODE:
            return "".join(f"# {each}\n" for each in head) + code(draws, left, *names)
        case Content.DOCUMENTS:
            parts = []
            for number, start in enumerate(range(0, left, _DOCUMENT_TOKENS), 1):
                text = prose(draws, min(_DOCUMENT_TOKENS, left - start), *names, number)
                parts.append(f"Document {number}: {text}")
            return "\n\n".join([*head, *parts, task])
        case _:
            return " ".join([*head, task, prose(draws, left, *names)])
