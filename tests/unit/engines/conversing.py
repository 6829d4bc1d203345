"""Carries out the conversation of a profile without any server, and notes what it asked."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, TypeVar

from aiidpd.engines.exposition import PageLines, parse
from aiidpd.engines.profile import Kind, PageRequest, Reply

T = TypeVar("T")
ABSENT = Reply(404, reason="it answers 404")
REFUSED = Reply(reason="connection refused")


def document(value: Any) -> Reply:
    return Reply(200, document=value)


def samples(page: str) -> Reply:
    lines = PageLines()
    lines.feed(page.encode())
    return Reply(200, samples=parse(lines.end()))


def converse(
    conversation: Generator[PageRequest, Reply, T], pages: Mapping[str, Reply]
) -> tuple[T, list[str]]:
    """Answer by ``pages``, all others being absent; return the outcome and the paths that were asked."""
    asked: list[str] = []
    try:
        request = next(conversation)
        while True:
            asked.append(request.path)
            reply = pages.get(request.path, ABSENT)
            assert not reply.good or (request.kind is Kind.SAMPLES) == (reply.samples is not None), request
            request = conversation.send(reply)
    except StopIteration as end:
        outcome: T = end.value
        return outcome, asked
