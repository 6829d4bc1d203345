"""Devices: enough of them, each with its source, found by the names that people and drivers give."""

from __future__ import annotations

import tomllib
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.physics.efficiency import GENERAL
from aiidpd.physics.hardware import Hardware, UnknownDevice, parse_hardware

FILE = Path(__file__).resolve().parents[3] / "aiidpd/physics/hardware.toml"
KNOWN = parse_hardware(FILE.read_text())


def test_there_are_80_devices_and_more_each_with_its_source() -> None:
    assert len(KNOWN.devices) >= 80
    for device in KNOWN.devices:
        assert device.source, device.name
        assert 10e9 <= device.bandwidth <= 10e12, device.name
        assert device.memory is None or 2e9 <= device.memory <= 600e9, device.name
        assert all(1e12 <= each <= 2e16 for each in device.flops.values()), device.name
    assert max(Counter(device.name for device in KNOWN.devices).values()) == 1


def test_each_vendor_and_generation_is_there() -> None:
    families = {device.family for device in KNOWN.devices}
    generations = {"pascal", "volta", "turing", "ampere", "ada", "blackwell", "hbm"}
    assert {f"nvidia-{name}" for name in generations} <= families
    assert {
        "amd-rdna2",
        "amd-rdna3",
        "amd-rdna4",
        "amd-cdna",
        "apple",
        "apple-m1",
        "intel-arc",
        "cpu",
    } <= families


def test_families_have_their_source_and_devices() -> None:
    for name, family in KNOWN.families.items():
        assert "published_decode" in family.source
        assert any(device.family == name for device in KNOWN.devices)


def test_each_device_is_found_by_its_own_name() -> None:
    for device in KNOWN.devices:
        assert KNOWN.find(device.name) == device
        assert KNOWN.find(device.name.upper()).name == device.name


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("3080 Ti 12GB", "RTX 3080 Ti"),
        ("4070 Ti 12GB", "RTX 4070 Ti"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "RTX 4090 Laptop"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM5 80GB"),
        ("h100 sxm", "H100 SXM5 80GB"),
        ("a100 40gb sxm", "A100 SXM4 40GB"),
        ("RTX_5070Ti", "RTX 5070 Ti"),
        ("rtx  4080  super", "RTX 4080 Super"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4 80GB"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"),
        ("RTX A6000 48GB", "RTX A6000"),
        ("RTX 6000 Ada 48GB", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "RTX PRO 6000 Blackwell"),
        ("Quadro RTX 6000", "Quadro RTX 6000"),
        ("3080 12GB", "RTX 3080 12GB"),
        ("rtx3080", "RTX 3080"),
        ("4070ti super", "RTX 4070 Ti Super"),
        ("7900XTX", "Radeon RX 7900 XTX"),
        ("Radeon 780M (ROCm)", "Radeon 780M"),
        ("RX 9070 XT", "Radeon RX 9070 XT"),
        ("M2 10CU", "Apple M2"),
        ("M3 Max 40CU", "Apple M3 Max 40-core"),
        ("Mac Studio M3 Ultra", "Apple M3 Ultra"),
        ("M1 Max 32-Core GPU 64GB", "Apple M1 Max"),
        ("DGX Spark", "GB10 DGX Spark"),
        ("AMD Ryzen AI Max+ 395", "Ryzen AI Max 395"),
        ("DDR5-6400 2 channels", "CPU DDR5-6400 2 channels"),
    ],
)
def test_names_are_matched_leniently(name: str, device: str) -> None:
    assert KNOWN.find(name).name == device


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("RTX 4090 Ti", "RTX 4090"),
        ("rtx 4090ti", "RTX 4090"),
        ("rtx 4909", "RTX 4090"),
        ("4070 Tii", "RTX 4070"),
        ("RTX 4080 SUPRE", "RTX 4080"),
        ("4090 Super Ti", "RTX 4090"),
        ("3080ti mobile", "RTX 3080 Ti"),
        ("NVIDIA GeForce RTX 3050 Ti Laptop GPU", "RTX 3050"),
        ("MI300", "Instinct MI300X"),
        ("b100", "B200"),
        ("M5 Max", "Apple M5"),
        ("A100 SXM", "A100 SXM4 40GB"),
        ("RX 7900", "Radeon RX 7900 GRE"),
        ("Arc", "Arc A310"),
        ("GTX", "GTX 1070"),
    ],
)
def test_an_unknown_name_lists_those_of_its_model_first(name: str, near: str) -> None:
    with pytest.raises(UnknownDevice, match="near it") as raised:
        KNOWN.find(name)
    assert raised.value.near[0] == near


@pytest.mark.parametrize(
    "name",
    ["foo", "banana", "", "nvidia", "list", "gtx 970", "Tesla K80", "RTX 9999", "\x1b[31m", "9" * 5000],
)
def test_where_nothing_is_near_nothing_is_suggested(name: str) -> None:
    with pytest.raises(UnknownDevice, match="none has a name like it") as raised:
        KNOWN.find(name)
    assert raised.value.near == ()
    assert len(str(raised.value)) < 600


def test_a_long_list_of_near_ones_is_cut() -> None:
    with pytest.raises(UnknownDevice, match=r"and \d+ more") as raised:
        KNOWN.find("RTX")
    assert all("RTX" in name for name in raised.value.near)


def test_a_name_of_several_devices_lists_them_and_a_bandwidth_decides() -> None:
    with pytest.raises(UnknownDevice, match="more than one") as raised:
        KNOWN.find("A100 80GB")
    assert set(raised.value.near) == {"A100 PCIe 80GB", "A100 SXM4 80GB"}
    assert KNOWN.find("A100 80GB", 2.0e12).name == "A100 SXM4 80GB"


@given(st.text(max_size=80))
def test_any_name_is_a_device_or_unknown(name: str) -> None:
    with suppress(UnknownDevice):
        assert KNOWN.find(name) in KNOWN.devices


def test_a_narrower_precision_is_as_fast_as_a_wider_one_at_least() -> None:
    ti = KNOWN.find("RTX 5070 Ti")
    assert (ti.flops_at("fp16"), ti.flops_at("fp8")) == (87.9e12, 351.5e12)
    assert KNOWN.find("RTX 3090").flops_at("fp8") == 71e12
    assert KNOWN.find("RTX 4060").flops_at("fp16") is None


def test_a_family_without_rows_has_the_general_constants() -> None:
    assert KNOWN.efficiency(KNOWN.find("RTX 5090")) is GENERAL
    assert KNOWN.efficiency(KNOWN.find("RTX 4090")).overhead_seconds == pytest.approx(0.0023)


@pytest.mark.parametrize(
    "text",
    [
        "devices = 3",
        "families = 3",
        "[[devices]]\nname = 'x'\nfamily = 'y'",
        "[families.x]\nshare = 2\noverhead_ms = 1\nsource = ''",
        "]",
    ],
)
def test_what_is_no_table_of_devices(text: str) -> None:
    with pytest.raises((ValueError, tomllib.TOMLDecodeError)):
        parse_hardware(text)


def test_no_devices_are_a_table_too() -> None:
    assert parse_hardware("") == Hardware((), {})
