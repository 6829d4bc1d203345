"""Size of the snapshots that remain, each object counted once, and the bound on it (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from aiidpd.components.backup.process.names import size_text
from aiidpd.components.backup.retention.snapshots import StoredSnapshot


class ObjectStore:
    """Objects of the snapshots that remain, each with the number of snapshots that hold it.

    Where they are not ``shared``, each snapshot has its own, and no more is held than the size of each.
    """

    def __init__(self, snapshots: Iterable[StoredSnapshot], *, shared: bool) -> None:
        self._shared = shared
        self._count: Counter[str] = Counter()
        self._size: dict[str, int] = {}
        for each in snapshots:
            for key, size in self._objects(each):
                self._count[key] += 1
                self._size[key] = max(size, self._size.get(key, 0))
        self.bytes = sum(self._size.values())

    def _objects(self, snapshot: StoredSnapshot) -> Iterable[tuple[str, int]]:
        contents = snapshot.contents or {}
        return contents.items() if self._shared else ((snapshot.id, sum(contents.values())),)

    def remove(self, snapshot: StoredSnapshot) -> int:
        """Remove ``snapshot`` and return the bytes that this frees."""
        freed = 0
        for key, _ in self._objects(snapshot):
            self._count[key] -= 1
            if not self._count[key]:
                freed += self._size[key]
        self.bytes -= freed
        return freed

    def put_back(self, snapshot: StoredSnapshot) -> None:
        """Undo :meth:`remove`."""
        for key, _ in self._objects(snapshot):
            if not self._count[key]:
                self.bytes += self._size[key]
            self._count[key] += 1

    def above(self, bound: int) -> int:
        """Return the bytes above ``bound``; 0 means no bound."""
        return max(0, self.bytes - bound) if bound else 0

    def costs(self, snapshot: StoredSnapshot) -> bool:
        """Return whether a removed ``snapshot`` holds bytes that none of those that remain holds."""
        return any(self._size[key] and not self._count[key] for key, _ in self._objects(snapshot))


def remove_oldest(
    store: ObjectStore, soft: list[StoredSnapshot], bound: int
) -> list[tuple[StoredSnapshot, int]]:
    """Remove the first of ``soft`` until ``store`` is within ``bound``; return them with the bytes freed.

    One that turns out to free nothing, for those that remain hold all of it, is spared.
    """
    removed: list[StoredSnapshot] = []
    for each in soft:
        if not store.above(bound):
            break
        store.remove(each)
        removed.append(each)
    gone = [each for each in removed if store.costs(each)]
    for each in removed:
        store.put_back(each)
    return [(each, store.remove(each)) for each in gone]


def excess_text(store: ObjectStore, bound: int) -> str:
    """Return by how much ``bound`` can't be met, in words; empty where it is met."""
    above = store.above(bound)
    if not above:
        return ""
    return (
        f"max_size ({size_text(bound)}) can't be met: {size_text(store.bytes)} remain, "
        f"{size_text(above)} too much, and no snapshot that may go would free any of it"
    )
