"""The component as a whole, without a daemon: real folders, real hashes, a clock that the test moves."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aiidpd.components.models import worker as worker_module
from aiidpd.components.models.api import (
    CheckRequest,
    ModelDetailsDocument,
    ModelsDocument,
    VerificationRequest,
)
from aiidpd.components.models.backed_up import BackupState
from aiidpd.components.models.observe import Seen
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.uses import UseKind
from aiidpd.components.models.view import UpstreamState
from aiidpd.contracts.backups import BackupCatalog, CatalogFile
from aiidpd.contracts.containers import ContainerSummary, Mount
from aiidpd.contracts.engines import EngineState, Residency
from aiidpd.kernel.errors import NotFound
from aiidpd.kernel.jobs import JobState, JobStatus
from aiidpd.kernel.task import WorkerState
from tests.fakes.clock import FakeClock
from tests.fakes.hub import Hub, download
from tests.ports import free_port
from tests.tables import made
from tests.unit.components.models.desk import Desk
from tests.unit.components.models.signing import Key, make_key, sign
from tests.unit.components.models.site import folder_model, gguf

DAY = 86400.0


@pytest.fixture
def models(tmp_path: Path) -> Path:
    gguf(tmp_path / "models" / "tiny.gguf")
    folder_model(tmp_path / "models" / "llama")
    return tmp_path / "models"


@pytest.fixture
def desk(tmp_path: Path, models: Path, clock: FakeClock) -> Desk:
    return Desk(tmp_path, clock, made(ModelsSettings, folders=(models,)))


async def test_models_are_found_and_what_changes_between_scans_is_an_event(desk: Desk, models: Path) -> None:
    async with desk.working():
        assert [each.name for each in desk.view.models] == ["llama", "tiny"]
        assert desk.kinds() == []
        gguf(models / "new.gguf", seed=3)
        os.utime(models / "tiny.gguf", (5, 5))
        shutil.rmtree(models / "llama")
        status = await desk.scan()
        assert status.state is JobState.SUCCEEDED
        assert (status.result["models"], status.result["opened"]) == (2, 2)
        assert desk.kinds() == [
            ("model.appeared", "new"), ("model.changed", "tiny"), ("model.removed", "llama")
        ]  # fmt: skip
        assert (await desk.scan()).result["opened"] == 0


async def test_over_a_restart_nothing_is_opened_again_and_nothing_appears(desk: Desk, models: Path) -> None:
    async with desk.working():
        pass
    desk.restart()
    gguf(models / "meanwhile.gguf", seed=4)
    async with desk.working():
        assert desk.kinds() == [("model.appeared", "meanwhile")]
        assert (await desk.scan()).result["opened"] == 0


async def test_a_folder_that_is_not_there_for_a_while_removes_nothing(desk: Desk, models: Path) -> None:
    async with desk.working():
        shutil.move(models, models.with_name("away"))
        await desk.scan()
        assert desk.view.models == ()
        assert "models_folder_missing" in desk.active()
        shutil.move(models.with_name("away"), models)
        assert (await desk.scan()).result["opened"] == 0
        assert desk.kinds() == []
        assert "models_folder_missing" not in desk.active()


async def test_it_scans_again_after_the_interval(desk: Desk, models: Path) -> None:
    async with desk.working():
        gguf(models / "new.gguf")
        for _ in range(62):
            passes = desk.status.passes
            await desk.clock.advance(60.0)
            await desk.until(lambda: desk.status.passes > passes)  # noqa: B023 -- waited for at once
        assert ("model.appeared", "new") in desk.kinds()


async def test_damage_and_old_leftovers_are_conditions_until_they_are_gone(desk: Desk, models: Path) -> None:
    (models / "page.gguf").write_bytes(b"<html>no</html>")
    left = models / "half.gguf.part"
    left.write_bytes(b"x" * 2**20)
    old = desk.clock.time() - 9 * DAY
    os.utime(left, (old, old))
    async with desk.working():
        assert "page.gguf of page: a web page was saved" in desk.active()["model_damaged"]
        assert "1 file of a download that never ended" in desk.active()["model_leftovers"]
        assert "9 d old" in desk.active()["model_leftovers"]
        left.unlink()
        (models / "page.gguf").unlink()
        await desk.scan()
        assert desk.active() == {}


async def test_rot_is_found_by_a_verification_and_ends_with_a_right_file(desk: Desk, models: Path) -> None:
    path = models / "tiny.gguf"
    content, stat = path.read_bytes(), path.stat()
    async with desk.working():
        job = desk.jobs.submit(work="verify", name="tiny", duplicates=False)
        status = await desk.end(job)
        assert (status.state, status.result["without_proof"]) == (JobState.SUCCEEDED, 1)
        (read,) = [each.read_at for each in desk.view.models if each.name == "tiny"]
        assert read is not None
        with path.open("r+b") as stream:
            stream.write(b"GGUF\x03\x00\x00\x00" + bytes([content[8] ^ 1]))
        os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        status = await desk.end(desk.jobs.submit(work="verify", name="tiny", duplicates=False))
        assert status.state is JobState.FAILED
        assert f"1 file is damaged: {path}: its hash begins with" in status.error
        assert "by an earlier reading" in desk.active()["model_content_wrong"]
        assert ("model.content_wrong", "tiny") in desk.kinds()
        with path.open("r+b") as stream:
            stream.write(content)
        os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        status = await desk.end(desk.jobs.submit(work="verify", name="tiny", duplicates=False))
        assert (status.state, status.result["right"]) == (JobState.SUCCEEDED, 1)
        assert desk.active() == {}


async def test_copies_are_probable_until_they_are_read(desk: Desk, models: Path) -> None:
    shutil.copy(models / "tiny.gguf", models / "copy.gguf")
    os.link(models / "tiny.gguf", models / "hardlink.gguf")
    async with desk.working():
        (found,) = desk.view.duplicates
        size = (models / "tiny.gguf").stat().st_size
        assert (found.certain, found.reclaimable_bytes, len(found.copies)) == (False, size, 2)
        assert {name for each in found.copies for name in each.models} == {"tiny", "copy", "hardlink"}
        status = await desk.end(desk.jobs.submit(work="verify", name="", duplicates=True))
        assert status.state is JobState.SUCCEEDED
        (found,) = desk.view.duplicates
        assert (found.certain, desk.view.reclaimable_bytes) == (True, size)


async def test_uses_and_the_last_use_are_observed(desk: Desk, models: Path) -> None:
    mount = Mount(str(models), "/models", True)
    llm = ContainerSummary(
        "id",
        "llm",
        "img",
        "running",
        None,
        False,
        True,
        mounts=(mount,),
        arguments=("-m", "/models/tiny.gguf"),
    )
    engine = EngineState("chat", "gpt", simulated=False, container="id", residency=Residency.LOADED)
    desk.seen = Seen((llm,), (engine,), None)
    async with desk.working():
        tiny = next(each for each in desk.view.models if each.name == "tiny")
        assert [(use.kind, use.container, use.engine) for use in tiny.uses] == [
            (UseKind.LOADED, "llm", "chat")
        ]
        assert (tiny.last_used_at, tiny.last_used_by) == (desk.clock.time(), "engine chat")
        used = desk.clock.time()
        desk.seen = Seen(None, (), None)
        await desk.clock.advance(60.0)
        await desk.until(lambda: desk.status.passes >= 3)
    desk.restart()
    async with desk.working():
        tiny = next(each for each in desk.view.models if each.name == "tiny")
        assert (tiny.uses, tiny.last_used_at) == ((), used)
        assert "containers are not known" in desk.view.open_reason


async def test_the_backup_of_a_model_is_read_from_the_catalog(desk: Desk, models: Path) -> None:
    stat = (models / "tiny.gguf").stat()
    copied = CatalogFile(stat.st_size, stat.st_mtime_ns // 10**6, "a" * 64)
    desk.seen = Seen((), (), BackupCatalog(str(models), "/b", "s", 1.0, 2.0, {"tiny.gguf": copied}))
    async with desk.working():
        states = {each.name: (each.backup, each.backed_up_at) for each in desk.view.models}
        assert states == {"tiny": (BackupState.YES, 2.0), "llama": (BackupState.NO, None)}


async def test_a_new_backup_shows_within_seconds(desk: Desk, models: Path) -> None:
    stat = (models / "tiny.gguf").stat()
    copied = CatalogFile(stat.st_size, stat.st_mtime_ns // 10**6, "a" * 64)
    async with desk.working():
        assert {each.backup for each in desk.view.models} == {BackupState.UNKNOWN}
        for snapshot, at in (("s", 2.0), ("s", 3.0), ("t", 3.0)):
            desk.seen = Seen(
                (), (), BackupCatalog(str(models), "/b", snapshot, 1.0, at, {"tiny.gguf": copied})
            )
            passes = desk.status.passes
            await desk.clock.advance(5.0)
            await desk.until(lambda before=passes: desk.status.passes > before)
            (tiny,) = [each for each in desk.view.models if each.name == "tiny"]
            assert (tiny.backup, tiny.backed_up_at) == (BackupState.YES, at)


async def test_a_disk_that_fills_up_is_a_condition_with_the_day(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 100 * 2**30
    real = worker_module.run_scan

    def scan(*arguments: object) -> object:
        found = real(*arguments)  # type: ignore[arg-type]
        return replace(
            found, spaces=tuple(replace(s, free_bytes=free, total_bytes=2**40) for s in found.spaces)
        )

    monkeypatch.setattr(worker_module, "run_scan", scan)
    async with desk.working():
        for _ in range(5):
            free -= 10 * 2**30
            desk.clock.jump(DAY)
            await desk.scan()
        (disk,) = desk.view.disks
        assert disk.full_at is not None
        assert round((disk.full_at - desk.clock.time()) / DAY) == 5
        assert "will be full on 2027-01-" in desk.active()["models_disk_full_soon"]
        free = 900 * 2**30
        desk.clock.jump(DAY)
        await desk.scan()
        assert "models_disk_full_soon" not in desk.active()


async def test_the_hub_is_asked_on_request_and_once_a_day_where_that_is_on(
    tmp_path: Path, clock: FakeClock
) -> None:
    with Hub(tmp_path / "hub") as hub:
        hub.publish("owner/model", {"config.json": b"{}", "w.bin": b"x" * 5000})
        download(hub, tmp_path / "home", "owner/model", shared=False)
        settings = made(ModelsSettings, folders=(tmp_path / "home" / "hub",), endpoint=hub.url)
        asked = "GET /api/models/owner/model/revision/main"
        before = hub.requests.count(asked)
        desk = Desk(tmp_path, clock, settings)
        async with desk.working():
            assert hub.requests.count(asked) == before  # offline, and silent
            status = await desk.end(desk.jobs.submit(work="check", name="owner/model"))
            assert (status.state, dict(status.result)) == (
                JobState.SUCCEEDED, {"current": 1, "newer": 0, "not_known": 0}
            )  # fmt: skip
            hub.publish("owner/model", {"config.json": b"{}", "w.bin": b"y" * 5000})
            await desk.end(desk.jobs.submit(work="check", name=""))
            assert desk.view.models[0].upstream is UpstreamState.NEWER
        on = Desk(tmp_path, clock, settings.model_copy(update={"upstream": True}))
        async with on.working():
            count = hub.requests.count(asked)
            assert count == before + 2  # the state on the disk is not a day old
            clock.jump(DAY)
            await clock.advance(600.0)
            await on.until(lambda: hub.requests.count(asked) == count + 1)


async def test_a_check_without_an_endpoint_fails_with_the_reason_and_is_quiet_else(
    tmp_path: Path, clock: FakeClock
) -> None:
    with Hub(tmp_path / "hub") as hub:
        hub.publish("owner/model", {"config.json": b"{}", "w.bin": b"x" * 5000})
        download(hub, tmp_path / "home", "owner/model", shared=False)
    settings = made(
        ModelsSettings,
        folders=(tmp_path / "home" / "hub",),
        endpoint=f"http://127.0.0.1:{free_port()}",
        upstream=True,
    )
    desk = Desk(tmp_path, clock, settings)
    async with desk.working():
        assert desk.jobs_status.state is WorkerState.RUNNING
        assert desk.active() == {}
        assert desk.events == []
        status = await desk.end(desk.jobs.submit(work="check", name=""))
        assert status.state is JobState.FAILED
        assert "not known: no answer: connection refused" in status.error


async def test_the_routes_answer(desk: Desk) -> None:
    nothing = await desk.answer("GET /v1/models")
    assert isinstance(nothing, ModelsDocument)
    assert nothing.read_at is None
    async with desk.working():
        listed = await desk.answer("GET /v1/models")
        assert isinstance(listed, ModelsDocument)
        assert len(listed.models) == 2
        shown = await desk.answer("GET /v1/models/{name}", name="tiny")
        assert isinstance(shown, ModelDetailsDocument)
        assert [each.model.name for each in shown.models] == ["tiny"]
        for name, body in (
            ("POST /v1/models/verifications", VerificationRequest("nobody")),
            ("POST /v1/models/checks", CheckRequest("nobody")),
        ):
            with pytest.raises(NotFound, match="there is: llama, tiny"):
                await desk.answer(name, body)


async def test_without_folders_it_searches_the_source_of_backups_or_the_usual_ones(
    tmp_path: Path, models: Path, clock: FakeClock
) -> None:
    desk = Desk(tmp_path, clock, ModelsSettings(), source=models)
    async with desk.working():
        assert [(each.path, each.configured) for each in desk.view.folders] == [(str(models), True)]
    (tmp_path / "hf").mkdir()
    shutil.move(models, tmp_path / "hf" / "hub")
    usual = Desk(tmp_path, clock, ModelsSettings(), environ={"HF_HOME": str(tmp_path / "hf")})
    async with usual.working():
        found = {each.path: each.configured for each in usual.view.folders}
        assert found[str(tmp_path / "hf" / "hub")] is False
        assert {"tiny", "llama"} <= {each.name for each in usual.view.models}


async def test_a_state_that_can_not_be_read_is_set_aside_and_a_condition(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text("{")
    desk.memory.put = lambda _records: None  # type: ignore[method-assign]  # nothing is written yet
    async with desk.working():
        assert "models_state" in desk.active()
        del desk.memory.put  # type: ignore[misc]
        await desk.scan()
        await desk.scan()
        assert "models_state" not in desk.active()
    assert (tmp_path / "models.json.unreadable").exists()


def signed_desk(desk: Desk, folder: Path, **signer: Any) -> tuple[Path, Key]:
    """Sign the model ``llama`` and have its signer trusted; return its folder and the key."""
    key, model = make_key(folder / "keys"), folder / "models" / "llama"
    sign(model, model / "model.sig", key)
    given = {"name": "vendor", "public_key": str(key.public), **signer}
    desk.settings = ModelsSettings.model_validate({"folders": [str(folder / "models")], "signers": [given]})
    return model, key


def signature(desk: Desk, label: str = "llama") -> tuple[str, str, bool]:
    (found,) = [each.signature for each in desk.view.models if each.label == label]
    return found.state.value, found.signer, found.wrong


async def verify(desk: Desk, name: str = "llama", **more: Any) -> JobStatus:
    return await desk.end(desk.jobs.submit(work="verify", name=name, **more))


async def test_a_signature_is_seen_then_valid_then_wrong_over_a_restart_and_right_again(
    desk: Desk, tmp_path: Path
) -> None:
    model, _ = signed_desk(desk, tmp_path)
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    async with desk.working():
        assert signature(desk) == ("unverified", "", False)
        assert signature(desk, "tiny") == ("none", "", False)
        status = await verify(desk, signature=True)
        assert status.state is JobState.SUCCEEDED
        assert status.result["signature"] == "the signature is valid, by vendor"
        assert signature(desk) == ("valid", "vendor", False)
        assert ("model.signature_valid", "llama") in desk.kinds()
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        await desk.scan()
        assert signature(desk) == ("unverified", "", False)
        status = await verify(desk)
        assert status.state is JobState.FAILED
        assert (
            "llama: the signature is invalid, by vendor: not as it was signed: model.safetensors"
            in status.error
        )
        assert signature(desk) == ("invalid", "vendor", True)
        assert (
            "its signature by vendor is invalid: not as it was signed"
            in desk.active()["model_signature_wrong"]
        )
        assert ("model.signature_wrong", "llama") in desk.kinds()
    desk.restart()
    async with desk.working():
        assert "model_signature_wrong" in desk.active()
        weights.write_bytes(content)
        await desk.scan()
        assert "model_signature_wrong" in desk.active()  # until it is verified
        assert (await verify(desk)).state is JobState.SUCCEEDED
        assert "model_signature_wrong" not in desk.active()
    desk.restart()
    async with desk.working():
        assert signature(desk) == ("valid", "vendor", False)


async def test_other_signers_after_a_reload_make_nothing_valid(desk: Desk, tmp_path: Path) -> None:
    signed_desk(desk, tmp_path)
    async with desk.working():
        await verify(desk)
        assert signature(desk)[0] == "valid"
    desk.settings = made(ModelsSettings, folders=desk.settings.folders)
    desk.restart()
    async with desk.working():
        assert signature(desk)[0] == "unverified"
        status = await verify(desk)
        assert status.state is JobState.SUCCEEDED
        assert "signed by nobody who is trusted" in status.result["signature"]
        assert signature(desk) == ("not_trusted", "", False)
        status = await verify(desk, signature=True)
        assert status.state is JobState.FAILED
        assert desk.active() == {}


async def test_a_model_that_a_signer_names_must_be_signed(desk: Desk, tmp_path: Path) -> None:
    model, _ = signed_desk(desk, tmp_path, models=["ll*"])
    async with desk.working():
        assert desk.active() == {}
        (model / "model.sig").unlink()
        await desk.scan()
        assert "it has no signature, and models.signers names it" in desk.active()["model_signature_wrong"]
        status = await verify(desk)
        assert status.state is JobState.FAILED
        assert "not signed, and models.signers wants one" in status.error
        sign(model, model / "model.sig", make_key(tmp_path / "other"))
        await desk.scan()
        assert desk.active() == {}
        assert (await verify(desk)).state is JobState.FAILED
        assert "not of a signer that is trusted" in desk.active()["model_signature_wrong"]


async def test_several_models_at_once_are_counted(desk: Desk, tmp_path: Path) -> None:
    signed_desk(desk, tmp_path)
    async with desk.working():
        status = await verify(desk, "")
        assert status.state is JobState.SUCCEEDED
        assert status.result["signatures_valid"] == 1


async def test_what_came_since_the_scan_is_verified_too_and_what_is_gone_is_forgotten(
    desk: Desk, tmp_path: Path
) -> None:
    model, key = signed_desk(desk, tmp_path)
    (model / "model.sig").unlink()
    async with desk.working():
        assert signature(desk)[0] == "none"
        sign(model, model / "model.sig", key)
        assert "valid" in (await verify(desk)).result["signature"]
        (model / "model.sig").unlink()
        status = await verify(desk)
        assert (status.state, "signature" in status.result) == (JobState.SUCCEEDED, False)
        assert desk.memory.known.records.signature(desk.memory.keys_of("llama")[0]) is None
