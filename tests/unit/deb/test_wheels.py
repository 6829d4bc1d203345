"""Wheels of what the daemon runs on."""

from __future__ import annotations

import zipfile
from pathlib import Path, PurePosixPath

import pytest

from deb.wheels import chosen, licence, pins, placed, unpack


def wheel(folder: Path, name: str, *files: str) -> Path:
    with zipfile.ZipFile(folder / name, "w") as archive:
        for each in files:
            archive.writestr(each, each)
    return folder / name


def test_pins_of_a_lock() -> None:
    lock = "# Title\nPyYAML==6.0.4 \\\n    --hash=sha256:00\n    # via x==1\nnvidia_ml.py==13.1 ; x\n"
    assert pins(lock) == {"pyyaml": "6.0.4", "nvidia-ml-py": "13.1"}


def test_each_package_has_its_wheel_and_what_is_not_wanted_stays(tmp_path: Path) -> None:
    for name in (
        "PyYAML-6.0-cp311-cp311-linux_x86_64.whl",
        "b_c-2-py3-none-any.whl",
        "pip-9-py3-none-any.whl",
    ):
        wheel(tmp_path, name)
    assert [each.name[:3] for each in chosen(tmp_path, {"pyyaml": "6.0", "b-c": "2"})] == ["b_c", "PyY"]
    with pytest.raises(ValueError, match=r"no wheel of d==1, pyyaml==5"):
        chosen(tmp_path, {"pyyaml": "5", "d": "1"})


def test_libraries_go_to_their_place_and_programs_nowhere() -> None:
    assert placed("a/b.py") == PurePosixPath("a/b.py")
    assert placed("a-1.data/purelib/a/b.py") == PurePosixPath("a/b.py")
    assert placed("a-1.data/scripts/tool") is None
    for name in ("/a", "../a", "a/../../b", "a-1.data/odd/x", "a-1.data/purelib"):
        with pytest.raises(ValueError, match=r"leaves|not known"):
            placed(name)


def test_two_wheels_with_one_file_are_no_environment(tmp_path: Path) -> None:
    unpack(wheel(tmp_path, "a-1-py3-none-any.whl", "x/y.py", "x/z.py"), tmp_path / "lib")
    assert (tmp_path / "lib/x/y.py").read_text() == "x/y.py"
    with pytest.raises(ValueError, match="in another wheel"):
        unpack(wheel(tmp_path, "b-1-py3-none-any.whl", "x/y.py"), tmp_path / "lib")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("License-Expression: MIT\nLicense: odd\n", "MIT"),
        ("Classifier: License :: OSI Approved :: Apache Software License\n", "Apache Software License"),
        ("License: Apache 2\n", "Apache 2"),
        ("", "see its files"),
    ],
)
def test_the_licence_that_a_package_names(said: str, shown: str) -> None:
    assert licence(f"Metadata-Version: 2.4\nName: a\nVersion: 1\n{said}\nText") == ("a", "1", shown)
