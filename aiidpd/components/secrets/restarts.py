"""Restarts of servers and of those who send keys: by heals of the daemon, by systemd, by a person."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, Protocol

from aiidpd.api.client import AccessDenied, ControlClient, ControlError, DaemonUnreachable, RequestFailed
from aiidpd.components.secrets.problem import SecretsError
from aiidpd.components.secrets.registry import CONTAINER, DAEMON, HAND, KeyEntry

_ACTS: Final = ("restart", "recreate")
_AGAIN: Final = 30.0  # seconds for which a daemon that is not there is tried again: it may just be restarted
_PAUSE: Final = 1.0
_MOST_OTHERS: Final = 5
_TRIES: Final = 3
_SYSTEMCTL: Final = "systemctl"
_EVERY: Final = 5.0  # seconds between two lines about the same restart
_ENDED: Final = ("succeeded", "failed")
_BY_HAND: Final = "or add --restart-yourself, and restart it when that says so"


class Restarts(Protocol):
    """Ways to have a key file read again."""

    @property
    def by_hand(self) -> bool:
        """True where a person restarts the server, some time after :meth:`engine`."""

    def engine(self, entry: KeyEntry) -> bool:
        """Have the server of ``entry`` read its file again; raises :class:`ControlError`.

        Returns False where somebody else has restarted it meanwhile: perhaps too early.
        """

    def user(self, entry: KeyEntry, user: str) -> None:
        """Have ``user`` read the key again; raises :class:`ControlError`."""


class RealRestarts:
    """Restarts by ``client``, the daemon's, and systemctl; ``report`` takes a line for the person."""

    def __init__(
        self,
        client: ControlClient,
        report: Callable[[str], None],
        *,
        by_hand: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._report = report
        self.by_hand = by_hand
        self._sleep = sleep
        self._others = 0  # heals that others have got in between with
        self._clock = clock

    def engine(self, entry: KeyEntry) -> bool:
        """See the protocol."""
        if self.by_hand:
            kind, _, name = entry.engine.partition(":")
            tool = {"container": "docker restart", "unit": "systemctl restart"}.get(kind)
            how = f": `{tool} {name}`" if tool else f", so that it reads {entry.engine_file} again"
            self._report(
                f"restart the server of {entry.name} now{how}; this waits until it has read its keys"
            )
        elif not entry.engine:
            raise SecretsError(
                "restart the server of",
                entry.name,
                reason="it is not known what runs it",
                remedy=f"name it: `aiidpctl secrets set {entry.name} --container NAME`, {_BY_HAND}",
            )
        else:
            return self._restart(entry.engine, "the server")
        return True

    def user(self, entry: KeyEntry, user: str) -> None:
        """See the protocol."""
        if user == DAEMON:
            self._report("aiidpd reads its configuration and credentials again")
            self._patiently(lambda: self._client.post("/v1/config/reload"))
        elif user != HAND:
            while not self._restart(user, f"which sends {entry.name}"):
                pass

    def _restart(self, target: str, whose: str) -> bool:
        kind, _, name = target.partition(":")
        if kind == CONTAINER:
            return self._heal(name, whose)
        self._report(f"systemctl restarts {name}, {whose}")
        self._systemctl(name)
        return True

    def _heal(self, name: str, whose: str) -> bool:
        """Restart the container ``name`` by a heal, if its policy allows one; False where one went on."""
        found = self._healing_of(name)
        mode = found["policy"]["mode"]
        if mode not in _ACTS:
            raise SecretsError(
                "restart container",
                name,
                reason=f"its healing policy is {mode} ({found['policy']['origin']})",
                remedy=f"label it aiidpd.heal=restart (docs/healing.md), {_BY_HAND}",
            )
        self._report(f"aiidpd restarts container {name}, {whose}")
        request = {"container": name, "cure": "restart"}
        try:
            job = self._client.post("/v1/healing/heals", request)
        except RequestFailed as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
            self._await_heal(name)
            return False
        job = self._followed(name, job)
        if job["state"] != "succeeded":
            self._others += 1
            if self._others < _MOST_OTHERS and self._others_heal(name, found["last"]):
                self._await_heal(name)
                return False
            raise SecretsError(
                "restart container",
                name,
                reason=job["error"] or "the heal has failed",
                remedy="see `aiidpctl containers healing`, then call this again",
            )
        return True

    def _others_heal(self, name: str, before: Mapping[str, Any] | None) -> bool:
        """Return whether somebody else heals or has started ``name``, whose last heal was ``before``."""
        for _ in range(_TRIES):  # what is decided is shown a moment later
            now = self._healing_of(name)
            last = now["last"]
            if now["decision"] == "healing" or (last != before and last and last["outcome"] != "failed"):
                return True
            self._sleep(_PAUSE)
        return False

    def _await_heal(self, name: str) -> None:
        """Wait until nobody heals the container ``name``."""
        self._report(f"{name} is being healed already: this waits for the end of that")
        at = self._clock()
        self._sleep(_PAUSE)
        while self._healing_of(name)["decision"] == "healing":
            if self._clock() - at >= _EVERY:
                self._report(f"{name} is still being healed")
                at = self._clock()
            self._sleep(_PAUSE)

    def _followed(self, name: str, job: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return how the heal of ``name`` has ended; it is reported while it goes on."""
        begun, identity = self._clock(), job["id"]
        said, at = "", begun
        while job["state"] not in _ENDED:
            words, now = job["message"] or job["state"], self._clock()
            if words != said or now - at >= _EVERY:
                self._report(f"{name}: {words} ({now - begun:.0f} s)")
                said, at = words, now
            self._sleep(_PAUSE)
            job = self._patiently(lambda: self._client.get_named("/v1/jobs", identity))
        return job

    def _healing_of(self, name: str) -> Mapping[str, Any]:
        """Return how the container ``name`` is healed; a daemon that has just begun has to read it first."""
        deadline = self._clock() + _AGAIN
        while True:
            healing = self._patiently(lambda: self._client.get("/v1/healing"))
            found: Mapping[str, Any] | None = next(
                (each for each in healing["containers"] if each["name"] == name), None
            )
            if found is not None and not healing["reason"]:
                return found
            if not healing["reason"] or self._clock() >= deadline:
                raise SecretsError(
                    "restart container",
                    name,
                    reason=healing["reason"] or "aiidpd knows no container of this name",
                    remedy=f"see `aiidpctl status`, {_BY_HAND}",
                )
            self._report(f"aiidpd heals nothing now: {healing['reason']}; tried again")
            self._sleep(_PAUSE)

    def _systemctl(self, unit: str) -> None:
        begun = self._clock()
        try:
            with subprocess.Popen(  # noqa: S603 -- the unit is a name that the registry has checked
                (_SYSTEMCTL, "restart", "--", unit),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            ) as process:
                while True:
                    try:
                        _, words = process.communicate(timeout=_EVERY)
                        break
                    except subprocess.TimeoutExpired:
                        self._report(f"{unit}: systemctl restarts it ({self._clock() - begun:.0f} s)")
            if not process.returncode:
                return
            reason = (words.strip().splitlines() or [f"systemctl ended with {process.returncode}"])[0]
        except FileNotFoundError:
            reason = "there is no systemctl"
        raise SecretsError(
            "restart unit", unit, reason=reason, remedy=f"see `systemctl status {unit}`, {_BY_HAND}"
        )

    def _patiently(self, request: Callable[[], Any]) -> Any:
        """Return what ``request`` does; a daemon that is not there may just be restarted."""
        deadline = self._clock() + _AGAIN
        while True:
            try:
                return request()
            except DaemonUnreachable as error:
                if self._clock() >= deadline:
                    raise _Unreachable(str(error)) from None
            except AccessDenied:
                raise
            except RequestFailed as error:
                raise SecretsError("restart by", "aiidpd", reason=str(error), remedy=_BY_HAND) from None
            self._report("aiidpd does not answer; tried again")
            self._sleep(_PAUSE)


class _Unreachable(ControlError):
    """A daemon that is not there."""

    exit_code = DaemonUnreachable.exit_code

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason} Start it and call this again, {_BY_HAND}")
