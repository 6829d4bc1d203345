from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from aiidpd.platform.unit_file import environment, read_unit, service_settings

ROOT = Path(__file__).parents[3]


def test_drop_ins_add_and_an_empty_value_takes_back(tmp_path: Path):
    strong, weak = tmp_path / "etc", tmp_path / "usr"
    for folder in (strong, weak):
        (folder / "x.service.d").mkdir(parents=True)
    (weak / "x.service").write_text(
        "[Unit]\nUser=no\n[Service]\nUser=a\nReadWritePaths=/a \\\n  # no\n  /b\n"
    )
    (weak / "x.service.d" / "10.conf").write_text("[Service]\nReadWritePaths=/c\nUser=b\n")
    (weak / "x.service.d" / "20.conf").write_text("[Service]\nReadWritePaths=\nReadWritePaths=/d\n")
    unit = read_unit("x.service", (strong, weak))
    assert unit is not None
    assert unit.words("ReadWritePaths") == ("/d",)
    assert unit.last("User") == "b"
    (strong / "x.service.d" / "20.conf").write_text("[Service]\nReadWritePaths=/e\n")
    unit = read_unit("x.service", (strong, weak))
    assert unit is not None
    assert unit.words("ReadWritePaths") == ("/a", "/b", "/c", "/e")
    assert unit.drop_ins == (weak / "x.service.d/10.conf", strong / "x.service.d/20.conf")


def test_a_unit_that_is_not_there(tmp_path: Path):
    assert read_unit("x.service", (tmp_path, tmp_path / "none")) is None


def test_our_own_unit_is_understood():
    settings = service_settings([(ROOT / "packaging/systemd/aiidpd.service").read_text()])
    assert settings["ProtectSystem"] == ("strict",)
    assert settings["User"] == ("aiidpd",)
    assert "aiidpd-metrics" in settings["SupplementaryGroups"][0].split()
    assert len(settings["DeviceAllow"]) == 5


@given(st.lists(st.text(max_size=200), max_size=5))
def test_no_text_breaks_it(texts: list[str]):
    for values in service_settings(texts).values():
        assert all(values)


@given(
    st.lists(st.text("abc=[]\\#\n Service", max_size=60).map(lambda text: f"[Service]\n{text}"), max_size=4)
)
def test_nothing_is_read_that_is_not_written(texts: list[str]):
    whole = "".join(texts)
    for key in service_settings(texts):
        assert key.split()[0] in whole


def test_a_drop_in_that_leads_nowhere_takes_the_one_below_it_away(tmp_path: Path):
    etc, lib = tmp_path / "etc", tmp_path / "lib"
    for folder in (etc, lib):
        (folder / "a.service.d").mkdir(parents=True)
    (lib / "a.service").write_text("[Service]\nSupplementaryGroups=docker\n")
    (lib / "a.service.d" / "gate.conf").write_text("[Service]\nSupplementaryGroups=\n")
    (etc / "a.service.d" / "gate.conf").symlink_to("/dev/null")
    unit = read_unit("a.service", (etc, lib))
    assert unit is not None
    assert unit.words("SupplementaryGroups") == ("docker",)
    assert unit.drop_ins == ()


def test_variables_of_a_unit():
    values = ("A=1 'B=two words'", "A=3", "broken='", "C")
    assert environment(values) == {"A": "3", "B": "two words"}


def test_the_shipped_gate_takes_the_group_docker_and_no_other():
    unit = ROOT / "packaging/systemd/aiidpd.service"
    texts = [unit.read_text(), (unit.parent / "aiidpd.service.d/gate.conf").read_text()]
    before, after = (service_settings(each)["SupplementaryGroups"] for each in (texts[:1], texts))
    assert {*" ".join(before).split()} - {*" ".join(after).split()} == {"docker"}
