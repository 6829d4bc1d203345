"""Rotations of real files at a server that reads them when it starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.secrets.problem import Refused, SecretsError
from aiidpd.components.secrets.registry import Format
from aiidpd.components.secrets.rotate import End
from aiidpd.components.secrets.state import Phase, begin
from aiidpd.components.secrets.store import new_key
from tests.unit.components.secrets.rotating import NAME, Rotating, rotating


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Rotating]:
    with rotating(tmp_path) as found:
        yield found


@pytest.mark.parametrize("form", [Format.LLAMACPP, Format.VLLM])
def test_a_key_is_replaced_and_nothing_else_is_left(tmp_path: Path, form: Format) -> None:
    with rotating(tmp_path, form) as here:
        before, files = here.store.key(here.entry), here.files()
        assert here.rotate() is End.DONE
        after = here.store.key(here.entry)
        assert after != before
        assert here.engine.accepted == here.store.engine_keys(here.entry) == (after,)
        assert here.engine.restarts == 2
        assert here.files() - {".lock"} == files
        assert here.entry.bits == 256


def test_a_new_key_may_be_longer(here: Rotating) -> None:
    assert here.rotate(bits=384) is End.DONE
    assert here.entry.bits == 384
    assert len(here.store.key(here.entry)) == 96


def test_copies_are_replaced_and_users_told(here: Rotating, tmp_path: Path) -> None:
    copy = tmp_path / "etc/copy"
    copy.parent.mkdir(mode=0o755)
    here.change(copies=(str(copy),), users=("daemon", "unit:web.service"))
    here.store.write_users(here.entry, here.store.key(here.entry))
    assert here.rotate() is End.DONE
    assert copy.read_text() == f"{here.store.key(here.entry)}\n"
    assert copy.stat().st_mode & 0o777 == 0o600
    assert here.restarts.notified == ["daemon", "unit:web.service"]


def test_those_whom_nothing_can_tell_are_waited_for(here: Rotating) -> None:
    here.change(users=("hand",))
    before = here.store.key(here.entry)
    assert here.rotate() is End.CONFIRM
    after = here.store.key(here.entry)
    assert list(here.engine.accepted) == [before, after]
    assert "both keys are accepted: give the one in" in here.said[-1]
    assert here.rotate() is End.CONFIRM, "to call it again changes nothing"
    assert here.rotate(confirmed=True) is End.DONE
    assert list(here.engine.accepted) == [after]


def test_nobody_has_a_key_that_was_given_to_nobody(here: Rotating) -> None:
    here.change(users=("hand",))
    for _ in range(2):
        with pytest.raises(Refused, match="not in the users' files yet"):
            here.rotate(confirmed=True)
    here.rotate()
    assert here.rotate(back=True) is End.CONFIRM
    assert here.rotate(confirmed=True) is End.BACK


def test_it_goes_back_to_the_key_that_was(here: Rotating) -> None:
    here.change(users=("hand",))
    before, entry = here.store.key(here.entry), here.entry
    here.rotate()
    here.rotate(back=True)
    assert here.rotate(confirmed=True) is End.BACK
    assert here.engine.accepted == here.store.engine_keys(entry) == (before,)
    assert here.store.key(entry) == before
    assert here.entry == entry, "it is as old as it was"
    assert {f"{NAME}.next", f"{NAME}.previous", f"{NAME}.rotation.json"} & here.files() == set()


def test_a_server_that_is_gone_is_given_up_after_a_while_and_nothing_is_lost(here: Rotating) -> None:
    before = here.store.key(here.entry)
    here.engine.status = 503
    with pytest.raises(
        SecretsError,
        match=r"gave no answer for \d+ s: it answers /v1/models with status 503; nothing is lost",
    ):
        here.rotate(patience=30.0)
    waits = [line for line in here.said if line.startswith("waiting for the server")]
    assert len(waits) >= 6, "a line each five seconds"
    assert here.store.key(here.entry) == before
    here.engine.status = 0
    assert here.rotate() is End.DONE


def test_back_from_a_server_that_never_comes_needs_a_word_of_the_person(here: Rotating) -> None:
    before = here.store.key(here.entry)
    here.engine.status = 503
    with pytest.raises(SecretsError):
        here.rotate(patience=1.0)
    with pytest.raises(SecretsError):
        here.rotate(back=True, patience=1.0)
    assert here.rotate(back=True, unverified=True) is End.BACK
    assert here.store.engine_keys(here.entry) == (before,)


def test_a_server_that_ended_because_of_two_keys_is_started_on_the_way_back(here: Rotating) -> None:
    before, starts = here.store.key(here.entry), here.engine.restart

    def restart() -> None:
        starts()
        here.engine.status = 503 if len(here.engine.accepted) > 1 else 0  # as versions that take one key

    here.engine.restart = restart  # type: ignore[method-assign]
    with pytest.raises(SecretsError, match="gave no answer"):
        here.rotate()
    assert here.rotate(back=True) is End.BACK
    assert here.engine.accepted == (before,)
    assert here.engine.restarts == 2


def test_to_leave_the_server_out_is_for_the_way_back_alone(here: Rotating) -> None:
    with pytest.raises(Refused, match="for --back alone"):
        here.rotate(unverified=True)
    here.engine.status = 503
    with pytest.raises(SecretsError, match="gave no answer"):
        here.rotate(patience=1.0)
    with pytest.raises(Refused, match="for --back alone"):
        here.rotate(unverified=True)


def test_a_server_that_reads_another_file_is_found_out(here: Rotating, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text(f"{here.store.key(here.entry)}\n")
    here.engine.file = other
    with pytest.raises(SecretsError, match="it was restarted, and still the next key is refused"):
        here.rotate()
    assert here.engine.restarts == 1
    assert here.rotate(back=True) is End.BACK


def test_a_server_that_requires_no_key_is_found_out(here: Rotating) -> None:
    here.engine.status = 200
    with pytest.raises(SecretsError, match="it answers without a key"):
        here.rotate()
    assert set(here.engine.seen).isdisjoint(here.store.rotating(here.entry).values())


def test_a_person_may_restart_the_server(here: Rotating) -> None:
    here.restarts.by_hand = True
    means = here.means()
    waits = 0

    def sleep(seconds: float) -> None:
        nonlocal waits
        waits += 1
        here.sleep(seconds)
        if waits % 3 == 0:
            here.engine.restart()

    here.means = lambda: replace(means, sleep=sleep)  # type: ignore[method-assign]
    assert here.rotate() is End.DONE
    assert here.engine.restarts == 2


def test_what_can_hold_one_key_alone_has_a_gap_that_must_be_allowed(tmp_path: Path) -> None:
    with rotating(tmp_path, Format.PLAIN) as here:
        with pytest.raises(Refused, match="say --with-gap"):
            here.rotate()
        before = here.store.key(here.entry)
        assert here.rotate(with_gap=True) is End.DONE
        assert here.engine.accepted == (here.store.key(here.entry),) != (before,)


def test_a_server_whose_address_is_not_known_can_not_be_verified(here: Rotating) -> None:
    here.change(url="")
    with pytest.raises(Refused, match="secrets set LLAMACPP_API_KEY --url"):
        here.rotate()
    with pytest.raises(Refused, match="no rotation of it has begun"):
        here.rotate(back=True)


def test_what_is_verified_does_not_go_back(here: Rotating) -> None:
    here.store.begin_rotation(
        here.entry, replace(begin(NAME, 0.0, with_gap=False), phase=Phase.CLEAN), new_key(256)
    )
    with pytest.raises(Refused, match="call this without --back"):
        here.rotate(back=True)
    assert here.rotate() is End.DONE


def test_an_end_that_was_cut_short_is_ended(here: Rotating) -> None:
    here.store.begin_rotation(
        here.entry, replace(begin(NAME, 0.0, with_gap=False), phase=Phase.CLEAN), new_key(256)
    )
    for which in ("next", "previous"):
        here.store.folder.remove(f"{NAME}.{which}")
    assert here.rotate() is End.DONE


def test_a_journal_without_its_keys_says_what_to_do(here: Rotating) -> None:
    here.store.begin_rotation(here.entry, begin(NAME, 0.0, with_gap=False), new_key(256))
    here.store.folder.remove(f"{NAME}.next")
    with pytest.raises(SecretsError, match=r"\.next is gone; restore it"):
        here.rotate()


def test_a_file_that_somebody_else_has_written_is_not_overwritten(tmp_path: Path) -> None:
    with rotating(tmp_path, Format.VLLM) as here:
        assert here.engine.file is not None
        here.engine.file.write_text('api-key: "abc"\nport: 8000\n')
        with pytest.raises(SecretsError, match="other lines than the keys"):
            here.rotate()
        assert "port" in here.engine.file.read_text()


def test_keys_that_somebody_has_put_there_are_replaced_by_both(here: Rotating) -> None:
    assert here.engine.file is not None
    here.engine.file.write_text("foreign\n")
    assert here.rotate() is End.DONE
    assert here.engine.accepted == (here.store.key(here.entry),)


def test_nothing_that_is_said_holds_a_key(here: Rotating) -> None:
    here.change(users=("hand",))
    keys = [here.store.key(here.entry)]
    here.rotate()
    keys += here.store.rotating(here.entry).values()
    here.rotate(confirmed=True)
    said = "\n".join(here.said)
    assert len(set(keys)) == 2
    assert [key for key in keys if key in said] == []


def test_a_daemon_whose_key_systemd_has_handed_over_must_be_restarted(here: Rotating, tmp_path: Path) -> None:
    here.handed = tmp_path / "handed"
    here.handed.mkdir()
    credential = here.handed / "aiidpd.bench.endpoints.local.api_key"
    before = here.store.key(here.entry)
    credential.write_text(f"{before}\n")
    (here.handed / "aiidpd.models.token").mkdir()
    here.change(users=("daemon",))
    for _ in range(2):
        with pytest.raises(SecretsError, match=r"systemd handed it the old one .*`systemctl restart aiidpd`"):
            here.rotate()
    assert before in here.engine.accepted, "nobody is refused meanwhile"
    credential.write_text(f"{here.store.key(here.entry)}\n")
    assert here.rotate() is End.DONE
