"""A file of YAML as a tree with places, within bounds: the only module that knows a library for YAML.

Aliases are the nodes that they name. What they would expand to is counted before anything is expanded, so
that a file of a kilobyte can't become a gigabyte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.kernel.errors import Misconfigured
from aiidpd.platform.readfile import read_small

LARGEST: Final = 1 << 20
"""Bytes of a file at the most."""
_MOST_NODES: Final = 100_000
_DEEPEST: Final = 64
_LONGEST_SHOWN: Final = 60
_MERGE: Final = "<<"
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(eq=False, slots=True)
class Node:
    """One node; lines and columns count from 0, as do ``end_line`` and ``end_column``, which are exclusive.

    ``kind`` is scalar, map or list. ``entries`` are the pairs of a map, ``items`` the nodes of a list.
    ``plain``: a scalar without quotes. ``flow``: a map or list in brackets. ``size`` counts the nodes that
    it stands for, aliases expanded.
    """

    kind: str
    line: int
    column: int
    end_line: int = 0
    end_column: int = 0
    text: str = ""
    plain: bool = False
    flow: bool = False
    tag: str = ""
    anchored: bool = False
    size: int = 1
    entries: list[tuple[Node, Node]] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def get(self, key: str) -> tuple[Node, Node] | None:
        """Return the pair of a map whose key is ``key``, without those that are merged in."""
        return next((pair for pair in self.entries if pair[0].text == key), None)


def read(path: Path) -> str:
    """Return the text of the file at ``path``; raises :class:`ComposeError`."""
    try:
        return read_small(path, LARGEST).decode()
    except UnicodeDecodeError:
        raise ComposeError("it is no text in UTF-8", file=str(path)) from None
    except Misconfigured as error:
        raise ComposeError(error.reason, file=str(path)) from None


def parse(text: str, file: str = "") -> Node:
    """Return the tree of ``text``; raises :class:`ComposeError`."""
    if len(text) > LARGEST:
        raise ComposeError(f"it is larger than {LARGEST >> 20} MiB", file=file)
    try:
        root = _Composer(file).compose(yaml.parse(text, Loader=_LOADER))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark is not None else None
        raise ComposeError(f"it is no YAML: {error.problem or error.context}", file=file, line=line) from None
    except yaml.YAMLError as error:
        raise ComposeError(f"it is no YAML: {str(error).splitlines()[0]}", file=file) from None
    except RecursionError:
        raise ComposeError("it is nested too deeply", file=file) from None
    if root is None:
        return Node("map", 0, 0)
    return root


class _Composer:
    """Makes nodes of events, one at a time."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._anchors: dict[str, Node | None] = {}
        self._total = 0

    def compose(self, events: Iterator[Any]) -> Node | None:
        """Return the first document, None where there is none."""
        root: Node | None = None
        open_: list[tuple[Node, list[Node], str | None]] = []
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent) and root is not None:
                raise self._wrong("it holds more than one document", event)
            finished: Node | None = None
            if isinstance(event, yaml.AliasEvent):
                finished = self._aliased(event)
            elif isinstance(event, yaml.ScalarEvent):
                finished = _node("scalar", event)
                finished.text, finished.plain = event.value, event.implicit[0]
                self._name(event.anchor, finished)
            elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
                open_.append(self._opened(event, len(open_)))
            elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
                finished, children, anchor = open_.pop()
                finished.end_line, finished.end_column = event.end_mark.line, event.end_mark.column
                self._fill(finished, children, event)
                self._name(anchor, finished)
            if finished is None:
                continue
            self._count(finished, event)
            if open_:
                open_[-1][1].append(finished)
            else:
                root = finished
        return root

    def _opened(self, event: Any, depth: int) -> tuple[Node, list[Node], str | None]:
        """Return a map or list that begins, the place for what it holds, and its anchor."""
        made = _node("map" if isinstance(event, yaml.MappingStartEvent) else "list", event)
        made.flow = bool(event.flow_style)
        if depth >= _DEEPEST:
            raise self._wrong(f"it is nested deeper than {_DEEPEST} levels", event)
        if event.anchor is not None:
            self._anchors[event.anchor] = None  # until it is whole
        return made, [], event.anchor

    def _count(self, node: Node, event: Any) -> None:
        self._total += 1
        if self._total > _MOST_NODES or node.size > _MOST_NODES:
            raise self._wrong(f"it stands for more than {_MOST_NODES} values", event)

    def _fill(self, node: Node, children: list[Node], event: Any) -> None:
        node.size = 1 + sum(each.size for each in children)
        if node.kind == "list":
            node.items = children
            return
        seen: set[str] = set()
        for key, value in zip(children[::2], children[1::2], strict=True):
            if key.kind != "scalar":
                raise self._wrong("a key is no text", event)
            if key.text in seen and key.text != _MERGE:
                shown = key.text[:_LONGEST_SHOWN]
                raise ComposeError(f"the key {shown!r} is there twice", file=self._file, line=key.line + 1)
            seen.add(key.text)
            node.entries.append((key, value))

    def _aliased(self, event: Any) -> Node:
        if event.anchor not in self._anchors:
            raise self._wrong(f"there is no anchor {event.anchor[:_LONGEST_SHOWN]!r}", event)
        node = self._anchors[event.anchor]
        if node is None:
            raise self._wrong(f"the anchor {event.anchor[:_LONGEST_SHOWN]!r} holds itself", event)
        return node

    def _name(self, anchor: str | None, node: Node) -> None:
        if anchor is not None:
            node.anchored = True
            self._anchors[anchor] = node

    def _wrong(self, reason: str, event: Any) -> ComposeError:
        return ComposeError(reason, file=self._file, line=event.start_mark.line + 1)


def _node(kind: str, event: Any) -> Node:
    start, end = event.start_mark, event.end_mark
    return Node(kind, start.line, start.column, end.line, end.column, tag=event.tag or "")


def value_of(node: Node) -> Any:
    """Return ``node`` as text, numbers, lists and dictionaries, with what ``<<`` merges in.

    A value that ``!reset`` takes away is None, as one that is empty.
    """
    if node.tag == "!reset":
        return None
    if node.kind == "scalar":
        return _scalar(node)
    if node.kind == "list":
        return [value_of(each) for each in node.items]
    merged: dict[str, Any] = {}
    for key, value in node.entries:
        if key.text == _MERGE and key.plain:
            for source in value.items if value.kind == "list" else [value]:
                if source.kind != "map":
                    raise ComposeError("<< merges maps alone", line=key.line + 1)
                merged = {**value_of(source), **merged}
    own = {key.text: value_of(value) for key, value in node.entries if not (key.text == _MERGE and key.plain)}
    return {**merged, **own}


def _scalar(node: Node) -> str | int | float | bool | None:
    text = node.text
    if not node.plain:
        return text
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text[0] in "tT"
    bare = text.lstrip("+-")
    if bare.isascii() and bare.isdigit() and len(bare) <= 18:  # noqa: PLR2004 -- digits that 64 bits hold
        return int(text) if len(bare) == 1 or bare[0] != "0" else text
    return text
