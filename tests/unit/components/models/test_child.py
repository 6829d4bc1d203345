"""The child process: it finds what this process finds, and whatever ends it is an error with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from aiidpd.components.models import child
from aiidpd.components.models.check_signature import SignatureWanted
from aiidpd.components.models.child import ChildCancelled, ChildControl
from aiidpd.components.models.process import FileRead, SignatureChecked, VerifyRequest
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.verify import Verified, wanted_of
from aiidpd.components.models.worker import run_scan
from aiidpd.kernel.errors import Unavailable
from tests.unit.components.models.signing import make_key, sign
from tests.unit.components.models.site import folder_model, gguf, known_of, records_of, scanned
from tests.waiting import PATIENCE, until


def test_a_scan_in_the_child_finds_the_same(tmp_path: Path) -> None:
    gguf(tmp_path / os.fsdecode(b"odd\xff.gguf"))
    folder_model(tmp_path / "llama")
    expected = scanned(tmp_path)
    found = run_scan(((tmp_path, True),), {}, ChildControl())
    spaces = found.spaces
    assert replace(found, seconds=0.0, spaces=()) == replace(expected, seconds=0.0, spaces=())
    assert [each.mount for each in spaces] == [each.mount for each in expected.spaces]
    assert run_scan(((tmp_path, True),), records_of(found), ChildControl()).opened == 0


def test_a_verification_in_the_child_sends_each_file(tmp_path: Path) -> None:
    folder_model(tmp_path / "llama")
    known = known_of(tmp_path)
    wanted = tuple(wanted_of(known, file) for file in known.scan.models[0].files)
    control, read = ChildControl(), []
    found = control.run(VerifyRequest(wanted), Verified, read.append)
    assert len(found.new) == 2
    assert [each.path for each in read if isinstance(each, FileRead)] == list(found.new)
    assert control.step.files_done == 2
    assert control.step.bytes_done == sum(each.file.stamp.size_bytes for each in wanted)


def test_a_signature_is_checked_in_the_child_alone_and_its_files_are_read_once(tmp_path: Path) -> None:
    script = f"""
import sys
from pathlib import Path
from aiidpd.components.models.check_signature import SignatureWanted
from aiidpd.components.models.child import ChildControl
from aiidpd.components.models.process import SignatureChecked, VerifyRequest
from aiidpd.components.models.signatures import Signer, SignerKind
from aiidpd.components.models.verify import Verified, wanted_of
from tests.unit.components.models.site import known_of

known = known_of(Path({str(tmp_path / "models")!r}))
(model,) = known.scan.models
signer = Signer("vendor", SignerKind.KEY, public_key={str(tmp_path / "keys" / "key.pub.pem")!r})
files = tuple(wanted_of(known, each) for each in model.files)
request = VerifyRequest(files, (SignatureWanted(model, (signer,)),))
control, frames = ChildControl(), []
control.run(request, Verified, frames.append)
(checked,) = [each for each in frames if isinstance(each, SignatureChecked)]
assert checked.key == model.key
size = sum(each.stamp.size_bytes for each in model.files)
print(checked.record.state.value, control.step.bytes_done == size)
print(any(each.partition(".")[0] in ("model_signing", "sigstore", "cryptography") for each in sys.modules))
"""
    folder = tmp_path / "models" / "llama"
    folder_model(folder)
    sign(folder, folder / "model.sig", make_key(tmp_path / "keys"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["valid True", "False"], done.stderr


def test_without_the_package_the_child_verifies_hashes_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models" / "llama"
    folder_model(folder)
    key = make_key(tmp_path / "keys")
    sign(folder, folder / "model.sig", key)
    code = (
        "import sys; sys.modules['model_signing'] = None; "
        "from aiidpd.components.models.process import main; main()"
    )
    monkeypatch.setattr(child, "PROGRAM", (sys.executable, "-P", "-c", code))
    known = known_of(tmp_path / "models")
    (model,) = known.scan.models
    request = VerifyRequest(
        tuple(wanted_of(known, file) for file in model.files), (SignatureWanted(model, (key.signer(),)),)
    )
    frames: list[object] = []
    assert len(ChildControl().run(request, Verified, frames.append).new) == 3
    (checked,) = [each for each in frames if isinstance(each, SignatureChecked)]
    assert checked.record is not None
    assert checked.record.state is SignatureState.NOT_CHECKED
    assert f"--python {sys.prefix}/bin/python install 'aiidpd[signing]'" in checked.record.reason


@pytest.mark.parametrize(
    "program",
    [
        ("/bin/true",),
        ("/bin/sh", "-c", "printf 12345678"),
        ("/bin/sh", "-c", "printf '\\0\\0\\0\\0\\0\\0\\0\\377x'"),
        ("/nonexistent",),
    ],
)
def test_a_child_that_ends_or_answers_nonsense_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: tuple[str, ...]
) -> None:
    monkeypatch.setattr(child, "PROGRAM", program)
    with pytest.raises(Unavailable, match="cannot read the files of models"):
        run_scan(((tmp_path, True),), {}, ChildControl())


@pytest.mark.parametrize("kill", [True, False])
def test_a_child_that_hangs_is_killed_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill: bool
) -> None:
    monkeypatch.setattr(child, "PROGRAM", ("/bin/sh", "-c", "exec sleep 600"))
    control, ended = ChildControl(), []

    def work() -> None:
        try:
            run_scan(((tmp_path, True),), {}, control)
        except (ChildCancelled, Unavailable) as error:
            ended.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    until(lambda: control._process is not None)
    process = control._process
    assert process is not None
    if kill:
        os.kill(process.pid, signal.SIGKILL)
    else:
        control.cancel()
    thread.join(PATIENCE)
    assert isinstance(ended[0], Unavailable if kill else ChildCancelled)
    assert process.poll() is not None
    if not kill:
        with pytest.raises(ChildCancelled):
            run_scan(((tmp_path, True),), {}, control)
