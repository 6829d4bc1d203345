"""A key in a folder, a server that requires it, and means to rotate it there without anybody's help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiidpd.components.secrets.folder import KeyFolder
from aiidpd.components.secrets.registry import Format, KeyEntry
from aiidpd.components.secrets.rotate import End, Means, RotationOptions, rotate
from aiidpd.components.secrets.store import KeyStore, new_entry, new_key
from tests.fakes.keyed_engine import KeyedEngine, serving

NAME = "LLAMACPP_API_KEY"


@dataclass
class Restarted:
    """Restarts of ``server``; ``notified`` are the users who were notified."""

    server: KeyedEngine
    by_hand: bool = False
    notified: list[str] = field(default_factory=list)

    def engine(self, entry: KeyEntry) -> bool:
        del entry
        if not self.by_hand:
            self.server.restart()
        return True

    def user(self, entry: KeyEntry, user: str) -> None:
        del entry
        self.notified.append(user)


@dataclass
class Rotating:
    """One of them; ``said`` is what the person reads."""

    store: KeyStore
    engine: KeyedEngine
    restarts: Restarted
    said: list[str] = field(default_factory=list)
    handed: Path = Path("/nowhere")
    now: float = 0.0
    """Time that has passed, in seconds."""

    @property
    def entry(self) -> KeyEntry:
        return self.store.entry(NAME)

    def change(self, **facts: object) -> None:
        self.store.put(replace(self.entry, **facts))  # type: ignore[arg-type]

    def means(self) -> Means:
        return Means(
            self.store,
            self.restarts,
            self.said.append,
            sleep=self.sleep,
            clock=lambda: self.now,
            handed=self.handed,
        )

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def rotate(self, **options: object) -> End:
        return rotate(self.means(), self.entry, RotationOptions(**options))  # type: ignore[arg-type]

    def files(self) -> set[str]:
        return {each.name for each in Path(self.store.folder.path).iterdir()}


@contextmanager
def rotating(
    folder: Path, form: Format = Format.LLAMACPP, users: tuple[str, ...] = ("nobody",)
) -> Iterator[Rotating]:
    """Make a key in ``folder`` and a server that has read it."""
    with (
        KeyFolder.open(str(folder / "keys"), create=True) as opened,
        serving(KeyedEngine(form=form)) as engine,
    ):
        store = KeyStore(opened)
        entry = replace(new_entry(NAME, form, 256), url=engine.url, users=users)
        store.create(entry, new_key(256))
        engine.file = folder / "keys" / entry.engine_file
        engine.restart()
        engine.restarts = 0
        yield Rotating(store, engine, Restarted(engine))
