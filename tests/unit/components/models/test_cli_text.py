"""Models as text for people: in 80 columns, whatever others named them; and over the real socket."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from aiidpd.cli.main import main
from aiidpd.cli.text import Paint
from aiidpd.components.models.api import ModelDetailsDocument, ModelsDocument
from aiidpd.components.models.backed_up import BackupState
from aiidpd.components.models.cli_text import (
    amount,
    duplicate_lines,
    model_details,
    model_table,
    upstream_table,
    usage_lines,
    verified_lines,
)
from aiidpd.components.models.metrics import MOST_MODELS, ModelsCollector
from aiidpd.components.models.settings import ModelsSettings
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.uses import UseKind
from aiidpd.components.models.view import (
    CopyInfo,
    DiskInfo,
    DuplicateInfo,
    FileInfo,
    FolderInfo,
    LeftoverInfo,
    ModelDetails,
    ModelsView,
    ProblemInfo,
    SignatureInfo,
    TypeInfo,
    UpstreamState,
    UseInfo,
)
from aiidpd.kernel.latest import Latest
from tests.documents import NOW, as_dict
from tests.fakes.clock import FakeClock
from tests.fakes.control import control_daemon
from tests.tables import made
from tests.unit.components.models.desk import Desk
from tests.unit.components.models.seen import model_info
from tests.unit.components.models.site import gguf

NARROW = Paint(width=80)
HOSTILE = "evil\x1b[2J\n" + "x" * 300
MODEL = model_info(
    "Qwen/Qwen3-30B-A3B",
    layout="huggingface",
    repository="Qwen/Qwen3-30B-A3B",
    revision="a" * 40,
    refs=("main",),
    format="safetensors",
    architecture="Qwen3MoeForCausalLM",
    parameters=30_532_122_624,
    active_parameters=3_350_000_000,
    quantization="BF16",
    context_length=40_960,
    tensor_bytes=61_064_245_248,
    size_bytes=61_100_000_000,
    file_count=25,
    uses=(UseInfo(UseKind.LOADED, "vllm", "chat", None, ""), UseInfo(UseKind.OPEN, "", "", 77, HOSTILE)),
    last_used_at=NOW - 60,
    last_used_by="engine chat",
    backup=BackupState.PARTLY,
    backup_reason="1 of 16 big files are not in it, or have changed since",
    upstream=UpstreamState.NEWER,
    upstream_commit="b" * 40,
    upstream_at=NOW - 3600,
)
BAD = model_info(HOSTILE, problems=(ProblemInfo(HOSTILE, "html", "a web page was saved"),))
VIEW = ModelsDocument(
    NOW,
    "",
    False,
    models=(MODEL, BAD),
    folders=(FolderInfo(HOSTILE, False, False, "no such file or directory", "", True, 0, 0),),
    leftovers=(LeftoverInfo("/m/x.part", "/m", 2**30, NOW - 9 * 86400),),
    duplicates=(
        DuplicateInfo(2**30, "", False, 2**30, (CopyInfo("/a", ("one",)), CopyInfo(HOSTILE, (HOSTILE,)))),
    ),
    reclaimable_bytes=2**30,
    disks=(DiskInfo("/mnt", 2**40, 2**41, 9, 2.0**33, NOW + 86400, ""),),
    open_reason="the files of 12 processes may not be read (it takes CAP_SYS_PTRACE)",
)


def narrow(lines: list[str], most: int = 80) -> str:
    text = "\n".join(lines)
    assert "\x1b" not in text
    assert max(map(len, lines)) <= most
    return text


def test_the_table_fits_eighty_columns_and_what_is_wrong_stands_below() -> None:
    lines = model_table(as_dict(VIEW), NOW, NARROW)
    text = narrow(lines[:3])
    assert "30.5B" in text
    assert "loaded" in text
    assert "partly" in text
    assert "a web page was saved" in lines[3]
    assert "1 file of downloads that have not ended: 1.0 GiB, the oldest of 9 d ago" in lines[4]
    assert model_table(as_dict(ModelsDocument(NOW, "", False)), NOW, NARROW)[0].startswith("no model")


def test_all_that_is_known_of_one() -> None:
    file = FileInfo("/x", ("model.safetensors", HOSTILE), 2**30, "", "c" * 64, "cache", NOW - 60, "", True)
    details = ModelDetails(model=MODEL, types=(TypeInfo("BF16", 5, 30, 60),), files=(file,))
    text = narrow(model_details(as_dict(ModelDetailsDocument(NOW, "", False, (details,))), NOW, NARROW))
    assert "30.5B, 3.35B active" in text
    assert "loaded by engine chat in container vllm" in text
    assert f"newer: {'b' * 40}" in text
    assert "1 min ago by engine chat" in text
    assert "c" * 12 in text
    assert "1 min ago" in text


def signed(state: SignatureState, **more: Any) -> list[str]:
    """Return the lines of a table with one model whose signature is in this ``state``."""
    model = model_info("m", signature=SignatureInfo(state, **more))
    return model_table(as_dict(ModelsDocument(NOW, "", False, models=(model,))), NOW, NARROW)[2:]


def test_the_table_says_which_models_are_signed_and_whose_signature_is_wrong() -> None:
    assert signed(SignatureState.NONE) == []
    assert signed(SignatureState.UNVERIFIED) == ["signed, not verified: m"]
    assert signed(SignatureState.VALID) == ["signed: m"]
    assert signed(SignatureState.NOT_TRUSTED) == ["signed by nobody who is trusted: m"]
    assert signed(SignatureState.NOT_CHECKED) == ["signed, can't be verified here: m"]
    (line,) = signed(SignatureState.INVALID, wrong=True, signer="vendor", checked_at=NOW - 60, reason=HOSTILE)
    assert line.startswith("m: INVALID by vendor, checked 1 min ago: evil\\x1b")
    assert signed(SignatureState.NONE, wrong=True, required=True) == [
        "m: not signed, and models.signers wants one"
    ]
    many = tuple(model_info(f"m{each}", signature=SignatureInfo(SignatureState.VALID)) for each in range(9))
    lines = model_table(as_dict(ModelsDocument(NOW, "", False, models=many)), NOW, NARROW)
    assert lines[-1] == "signed: m0, m1, m2, m3, m4 and 4 more"


def test_what_a_signature_says_of_itself_is_called_a_claim() -> None:
    signature = SignatureInfo(
        SignatureState.UNVERIFIED,
        path="/m/model.sig",
        method="sigstore",
        key_hint="a" * 64,
        claimed_identity=HOSTILE,
        claimed_issuer="https://issuer.example.org",
    )
    details = ModelDetails(model=model_info("m", signature=signature), types=(), files=())
    text = narrow(model_details(as_dict(ModelDetailsDocument(NOW, "", False, (details,))), NOW, NARROW))
    assert "signature      signed, not verified" in text
    assert "/m/model.sig (sigstore)" in text
    assert f"it claims the key {'a' * 16}" in text
    assert "it claims to be of evil" in text


def test_a_verification_says_what_came_of_signatures() -> None:
    result = {"right": 2, "damaged": 0, "skipped": 0, "without_proof": 0, "bytes": 5}
    assert verified_lines(result, NARROW)[-1] == "5 B were read"
    one = {**result, "signature": f"the signature is valid, by {HOSTILE}"}
    assert verified_lines(one, NARROW)[-1].startswith("the signature is valid, by evil\\x1b")
    several = {**result, "signatures_invalid": 1, "signatures_not_trusted": 2}
    assert verified_lines(several, NARROW)[-1] == "signatures: 1 invalid, 2 not trusted"


def test_usage_has_uses_folders_and_the_day_on_which_the_disk_is_full() -> None:
    lines = usage_lines(as_dict(VIEW), NOW, NARROW)
    text = narrow([line for line in lines if "not all is known" not in line])
    text += "\n".join(lines)
    assert "not all is known: the files of 12 processes" in text
    assert "2027-01-16" in text
    assert "8.0 GiB" in text


def test_duplicates_say_what_could_go() -> None:
    text = "\n".join(duplicate_lines(as_dict(VIEW), NARROW))
    assert "1.0 GiB could go: 2 times 1.0 GiB, probably the same" in text
    assert "\x1b" not in text
    assert duplicate_lines(as_dict(ModelsDocument(NOW, "", False)), NARROW) == [
        "nothing of 1 MiB or more is there twice"
    ]


def test_upstream_in_a_table() -> None:
    text = narrow(upstream_table(as_dict(VIEW), "", NOW, NARROW))
    assert "newer" in text
    assert "evil" not in text
    assert upstream_table(as_dict(VIEW), "other", NOW, NARROW)[0].startswith("no model here")


def test_amounts() -> None:
    found = [amount(n) for n in (None, 5, 751_000_000, 8_190_000_000, 1.2e12)]
    assert found == ["-", "5", "751M", "8.19B", "1.2T"]


def test_metrics_are_bounded_and_those_that_are_not_known_have_no_series(clock: FakeClock) -> None:
    latest: Latest[ModelsView] = Latest(clock, 1e9)
    registry = CollectorRegistry()
    registry.register(ModelsCollector(latest))
    assert generate_latest(registry) == b""
    many = tuple(model_info(f"m{each}", size_bytes=each) for each in range(MOST_MODELS + 50))
    latest.put(ModelsView(models=(*many, MODEL), folders=VIEW.folders, disks=VIEW.disks))
    page = generate_latest(registry).decode()
    assert page.count("aiidpd_model_size_bytes{") == MOST_MODELS
    assert page.count("aiidpd_model_last_used_timestamp_seconds{") == 1
    assert "aiidpd_model_last_verified_timestamp_seconds" not in page
    assert 'aiidpd_models_backup{state="partly"} 1.0' in page
    assert 'aiidpd_models_disk_full_timestamp_seconds{mount="/mnt"}' in page


async def test_the_commands_work_over_the_real_socket(
    tmp_path: Path, clock: FakeClock, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "models"
    gguf(folder / "owner" / "tiny 100%.gguf")
    gguf(folder / os.fsdecode(b"odd\xff.gguf"), seed=9)
    desk = Desk(tmp_path, clock, made(ModelsSettings, folders=(folder,)))
    (tmp_path / "api").mkdir()
    async with (
        desk.working(),
        control_daemon(tmp_path / "api", models=desk.routes, jobs=desk.book) as daemon,
    ):

        async def run(*command: str) -> tuple[int, str]:
            given = ["--socket", str(daemon.path), "models", *command]
            code = await anyio.to_thread.run_sync(main, given)
            shown = capsys.readouterr()
            return code, shown.out + (shown.err if code else "")

        async def ends(wanted: int, *command: str) -> None:
            code, out = await run(*command)
            assert code == wanted, out

        code, out = await run()
        assert code == 0, out
        assert "owner/tiny 100%" in out
        assert "odd\\xff" in out
        code, out = await run("show", "owner/tiny 100%")
        assert (code, "context        8192 tokens" in out) == (0, True)
        await ends(0, "show", "odd\\xff")
        await ends(1, "show", "nobody")
        for command in ("usage", "duplicates", "list"):
            code, out = await run(command)
            assert (code, bool(out)) == (0, True)
        code, out = await run("verify", "owner/tiny 100%")
        assert (code, "no proof" in out) == (0, True)
        path = folder / "owner" / "tiny 100%.gguf"
        stat = path.stat()
        with path.open("r+b") as stream:
            stream.seek(500_000)
            stream.write(b"rot")
        os.utime(path, ns=(stat.st_mtime_ns, stat.st_mtime_ns))
        await ends(1, "verify", "owner/tiny 100%")
        await ends(1, "verify", "odd\\xff", "--signature")
        await ends(0, "check")
        await ends(0, "scan")
        await ends(0, "duplicates", "--verify")
