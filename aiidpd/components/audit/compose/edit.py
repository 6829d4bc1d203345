"""Changes of a compose file, line by line: the rest stays as somebody wrote it, remarks included."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from aiidpd.components.audit.compose.document import Node, parse, value_of
from aiidpd.components.audit.compose.matching import matches
from aiidpd.components.audit.compose.problem import ComposeError
from aiidpd.components.audit.rule import Edit, Value
from aiidpd.components.audit.yaml_lines import block, scalar

_ELSEWHERE: Final = "it comes from elsewhere, by an anchor, << or extends"
_SHARED: Final = "others share it by an anchor: change it by hand"


class NotChanged(ComposeError):
    """An edit that is left to a person, and why."""


@dataclass(slots=True)
class Outcome:
    """Text after some edits; ``refused`` are those that are left to a person, each with the reason."""

    text: str
    applied: list[Edit] = field(default_factory=list)
    refused: list[tuple[Edit, str]] = field(default_factory=list)


def apply(text: str, service: str, edits: Iterable[Edit], directory: str = "") -> Outcome:
    """Return ``text`` with ``edits`` of one service; those in ``directory`` have relative paths."""
    outcome = Outcome(text)
    for edit in edits:
        try:
            changed = _Change(outcome.text, service, directory).text_with(edit)
            _check(outcome.text, changed, service)
        except ComposeError as error:
            outcome.refused.append((edit, error.reason))
        else:
            outcome.text = changed
            outcome.applied.append(edit)
    return outcome


def _check(before: str, after: str, service: str) -> None:
    """Refuse a change by which anything but ``service`` became another."""

    def others(text: str) -> Any:
        found = value_of(parse(text))
        found["services"] = {key: each for key, each in found["services"].items() if key != service}
        return found

    try:
        same = others(before) == others(after)
    except ComposeError as error:
        raise NotChanged(f"the file would be none of compose afterwards: {error.reason}") from None
    if not same:
        raise NotChanged("other services would change with it")


class _Change:
    """One edit of ``service`` in ``text``."""

    def __init__(self, text: str, service: str, directory: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._newline = "\r\n" if self._lines and self._lines[0].endswith("\r\n") else "\n"
        if self._lines and not self._lines[-1].endswith("\n"):
            self._lines[-1] += self._newline
        self._directory = directory
        services = parse(text).get("services")
        found = services[1].get(service) if services is not None and services[1].kind == "map" else None
        if found is None:
            raise NotChanged(f"the file has no service {service}")
        self._key, self._service = found
        if self._service.kind != "map" or not self._own(self._key, self._service):
            raise NotChanged(f"the service is not written out: {_ELSEWHERE}")
        if self._service.flow:
            raise NotChanged("the service is written in brackets")
        first = self._service.entries[0][0] if self._service.entries else None
        self._step = max(1, first.column - self._key.column) if first is not None else 2

    def text_with(self, edit: Edit) -> str:
        """Return the text after ``edit``; raises :class:`NotChanged`."""
        holder = self._service
        for depth, key in enumerate(edit.path[:-1]):
            pair = holder.get(key)
            if pair is None or self._empty(pair[1]):
                self._insert_tree(holder, pair, edit.path[depth:], edit)
                return "".join(self._lines)
            if pair[1].kind == "list" and key == "environment" and depth == len(edit.path) - 2:
                self._assign(pair[1], edit)
                return "".join(self._lines)
            if pair[1].kind != "map" or pair[1].flow or not self._own(*pair):
                raise NotChanged(
                    f"{'.'.join(edit.path[: depth + 1])} is written in brackets, or {_ELSEWHERE}"
                )
            holder = pair[1]
        if holder.anchored and holder is not self._service:
            raise NotChanged(_SHARED)
        pair = holder.get(edit.path[-1])
        if edit.item:
            self._change_list(holder, pair, edit)
        elif edit.value is None:
            if pair is None:
                raise NotChanged(_ELSEWHERE)
            self._delete(pair[0].line, self._last_line(*pair))
        elif pair is None or self._empty(pair[1]):
            self._insert_tree(holder, pair, edit.path[-1:], edit)
        else:
            self._replace_value(pair, edit.value)
        return "".join(self._lines)

    def _change_list(self, holder: Node, pair: tuple[Node, Node] | None, edit: Edit) -> None:
        name = edit.path[-1]
        if pair is None or self._empty(pair[1]) or not self._own(*pair):
            inherited = value_of(self._service).get(name) if holder is self._service else None
            if edit.old or edit.value is None:
                raise NotChanged(_ELSEWHERE)
            values = [*(inherited if isinstance(inherited, list) else ()), edit.value]
            if not all(isinstance(each, str | int) for each in values):
                raise NotChanged(_ELSEWHERE)
            if pair is not None and not self._empty(pair[1]):
                self._delete(pair[0].line, pair[0].line)
                pair = None
            self._insert(holder, pair, {name: [str(each) for each in values]})
            return
        key, node = pair
        if node.anchored:
            raise NotChanged(_SHARED)
        if node.kind == "scalar":
            if edit.value is None or not matches(name, value_of(node), edit.old, self._directory):
                raise NotChanged("it is no list")
            self._put(node, scalar(edit.value))
            return
        if node.kind != "list":
            raise NotChanged("it is no list")
        self._change_item(key, node, self._place(name, node, edit.old) if edit.old else None, edit.value)

    def _place(self, name: str, node: Node, old: str) -> int:
        """Return the place of the entry ``old`` in the list ``name``."""
        for at, each in enumerate(node.items):
            if matches(name, value_of(each), old, self._directory):
                return at
        raise NotChanged(f"it has no entry {old[:80]}: {_ELSEWHERE}")

    def _change_item(self, key: Node, node: Node, place: int | None, value: Value | None) -> None:
        if node.flow:
            written = [self._raw(each) for each in node.items]
            if place is None:
                written.append(scalar(value))
            elif value is None:
                del written[place]
            else:
                written[place] = scalar(value)
            if written:
                self._put(node, f"[{', '.join(written)}]")
            else:
                self._delete(key.line, self._last_line(key, node))
            return
        if place is None:
            at = self._last_line(key, node) + 1
            self._lines.insert(at, f"{' ' * node.column}- {scalar(value)}{self._newline}")
            return
        item = node.items[place]
        begin, end = item.line, self._last_line(item, item)
        if value is not None and item.kind == "scalar":
            self._put(item, scalar(value))
        elif value is not None:
            self._delete(begin, end)
            self._lines.insert(begin, f"{' ' * node.column}- {scalar(value)}{self._newline}")
        elif len(node.items) == 1:
            self._delete(key.line, self._last_line(key, node))
        else:
            self._delete(begin, end)

    def _assign(self, node: Node, edit: Edit) -> None:
        """Set a variable in an environment that is a list of ``NAME=value``."""
        name = edit.path[-1]
        if node.flow or node.anchored or edit.value is None:
            raise NotChanged("the environment is written in brackets, or others share it")
        wanted = f"{name}={edit.value}"
        for each in node.items:
            if each.kind == "scalar" and each.text.partition("=")[0] == name:
                self._put(each, scalar(wanted))
                return
        at = self._last_line(node, node) + 1
        self._lines.insert(at, f"{' ' * node.column}- {scalar(wanted)}{self._newline}")

    def _insert_tree(
        self, holder: Node, pair: tuple[Node, Node] | None, path: tuple[str, ...], edit: Edit
    ) -> None:
        if edit.value is None or (edit.item and edit.old):
            raise NotChanged(_ELSEWHERE)
        tree: Any = [edit.value] if edit.item else edit.value
        for key in reversed(path):
            tree = {key: tree}
        self._insert(holder, pair, tree)

    def _insert(self, holder: Node, pair: tuple[Node, Node] | None, tree: dict[str, Any]) -> None:
        """Insert ``tree`` as the last entry of ``holder``, or in the place of ``pair``, which is empty."""
        if holder.flow:
            raise NotChanged("it is written in brackets")
        if holder.anchored and holder is not self._service:
            raise NotChanged(_SHARED)
        if pair is not None:
            column, at = pair[0].column, pair[0].line
            self._delete(at, at)
        elif holder.entries:
            column, at = holder.entries[0][0].column, self._last_line(*holder.entries[-1]) + 1
        else:
            raise NotChanged("it is empty")
        written = block(tree, column, self._step)
        self._lines[at:at] = [f"{line}{self._newline}" for line in written]

    def _replace_value(self, pair: tuple[Node, Node], value: Value) -> None:
        key, node = pair
        if not self._own(key, node) or node.anchored or node.kind != "scalar" or isinstance(value, tuple):
            if node.anchored and self._own(key, node):
                raise NotChanged(_SHARED)
            column, at = key.column, key.line
            self._delete(at, self._last_line(key, node))
            written = block(
                {key.text: list(value) if isinstance(value, tuple) else value}, column, self._step
            )
            self._lines[at:at] = [f"{line}{self._newline}" for line in written]
            return
        self._put(node, scalar(value))

    def _own(self, key: Node, node: Node) -> bool:
        """Return whether ``node`` stands behind its ``key``: an alias is where its anchor is."""
        return (node.line, node.column) > (key.line, key.column)

    def _empty(self, node: Node) -> bool:
        return node.kind == "scalar" and node.plain and node.text == "" and not node.anchored

    def _last_line(self, key: Node, node: Node) -> int:
        """Return the last line of an entry, without blank lines and remarks behind it."""
        if node is not key and not self._own(key, node):
            return key.line
        if node.kind == "map" and not node.flow and node.entries:
            return max(node.line, self._last_line(*node.entries[-1]))
        if node.kind == "list" and not node.flow and node.items:
            last = node.items[-1]
            return (
                self._last_line(last, last)
                if (last.line, last.column) >= (node.line, node.column)
                else node.line
            )
        line = node.end_line if node.end_column else node.end_line - 1
        line = max(node.line, min(line, len(self._lines) - 1))
        while line > node.line and not self._lines[line].strip():
            line -= 1
        return line

    def _delete(self, first: int, last: int) -> None:
        del self._lines[first : last + 1]

    def _raw(self, node: Node) -> str:
        if node.line != node.end_line:
            raise NotChanged("a list in brackets goes over several lines")
        return self._lines[node.line][node.column : node.end_column]

    def _put(self, node: Node, text: str) -> None:
        """Put ``text`` in the place of a scalar or of a list in brackets."""
        head = self._lines[node.line][: node.column]
        tail = self._lines[node.end_line][node.end_column :] if node.end_line < len(self._lines) else ""
        if not node.end_column and node.end_line > node.line:  # a text over several lines
            self._lines[node.line : node.end_line] = [f"{head}{text}{self._newline}"]
            return
        self._lines[node.line : node.end_line + 1] = [f"{head}{text}{tail}"]
