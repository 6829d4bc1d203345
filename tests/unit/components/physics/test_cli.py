"""``aiidpctl physics`` as a person calls it: numbers, files, names, and what is wrong with them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aiidpd.cli.main import main
from aiidpd.components.physics import cli_claims
from aiidpd.demo.model_folder import make_model_folder
from aiidpd.platform import ram_bandwidth
from aiidpd.platform.ram_bandwidth import NotMeasured, RamBandwidth

NOWHERE = ("--socket", "/nonexistent/control.sock")
Run = Callable[..., Any]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return a function that runs a command and returns its document, or its lines without ``--json``."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(cli_claims, "OWN", tmp_path / "absent.toml")

    def run(command: str, *more: str, text: bool = False) -> Any:
        words = [*NOWHERE, "physics", *shlex.split(command), *more]
        assert main([*words, *(() if text else ("--json",))]) == 0
        out = capsys.readouterr().out
        return out.splitlines() if text else json.loads(out)

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command that can't be carried out, and returns the reason."""

    def run(command: str, *more: str) -> str:
        try:
            code = main([*NOWHERE, "physics", *shlex.split(command), *more])
        except SystemExit as ended:
            code = int(ended.code or 0)
        assert code == 2
        return capsys.readouterr().err

    return run


SHAPE = "--layers 32 --kv-heads 8 --head-length 128"
HYBRID = "estimate --weights 35GB --bandwidth 896GB/s --layers 70 --offload-layers 12"


def test_numbers_alone(said: Run) -> None:
    found = said("estimate --weights 4.58GiB --bandwidth 448GB/s")
    assert found["decode_ceiling_tok_s"] == pytest.approx(448e9 / (4.58 * 2**30))
    assert 0.6 < found["decode_expected_tok_s"] / found["decode_ceiling_tok_s"] < 0.9
    assert set(found["formulas"]) == {"decode_ceiling_tok_s", "decode_expected_tok_s"}


def test_a_name_brings_its_bandwidth_and_the_constants_of_its_family(said: Run) -> None:
    named = said("estimate --weights 4.58GiB --gpu 'NVIDIA GeForce RTX 4090'")
    alone = said("estimate --weights 4.58GiB --bandwidth 1008.4GB/s")
    assert named["device"] == "RTX 4090"
    assert named["decode_ceiling_tok_s"] == alone["decode_ceiling_tok_s"]
    assert named["decode_expected_tok_s"] != alone["decode_expected_tok_s"]
    both = said("estimate --weights 4.58GiB --gpu 'A100 80GB' --bandwidth 2039GB/s")
    assert both["device"] == "A100 SXM4 80GB"


def test_a_batch_has_figures_of_its_own(said: Run) -> None:
    found = said("estimate --weights 8GB --bandwidth 896GB/s --batch 16")
    assert found["decode_ceiling_tok_s"] == pytest.approx(112)
    assert found["batch_ceiling_tok_s"] == pytest.approx(16 * 112)
    assert found["batch_expected_tok_s"] < found["batch_ceiling_tok_s"]


def test_calibrated_with_another_model_of_the_same_gpu(said: Run, tmp_path: Path) -> None:
    command = "estimate --weights 8.37GiB --gpu 'RTX 2080 Ti'"
    plain = said(command)["decode_expected_tok_s"]
    slower = said(f"{command} --calibrate 1.87GiB=120")["decode_expected_tok_s"]
    faster = said(f"{command} --calibrate '1.87GiB: 220 tok/s'")["decode_expected_tok_s"]
    assert slower < plain < faster
    between = said(f"{command} --calibrate 1.87GiB=120 --calibrate 1.87GiB=220")["decode_expected_tok_s"]
    assert slower < between < faster
    make_model_folder(tmp_path)
    by_file = said(command, "--calibrate", f"{tmp_path / 'model.gguf'}=1000")
    assert by_file["decode_expected_tok_s"] < plain


def test_a_draft_multiplies(said: Run) -> None:
    found = said("estimate --weights 8GB --bandwidth 896GB/s --draft-accepted 2.5")
    assert found["decode_ceiling_tok_s"] == pytest.approx(280)


def test_part_on_the_cpu_with_ram_given_or_measured(said: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = said(f"{HYBRID} --ram-bandwidth 102.4GB/s")
    assert found["decode_ceiling_tok_s"] == pytest.approx(1 / (6 / 896 + 29 / 102.4))
    monkeypatch.setattr(ram_bandwidth, "measure", lambda: RamBandwidth(102.4e9, 4, 2**28))
    measured = said(HYBRID)
    assert measured["decode_ceiling_tok_s"] == pytest.approx(found["decode_ceiling_tok_s"])
    assert any("RAM, now: 102.4 GB/s by 4 threads" in note and "memchr" in note for note in measured["notes"])


def test_ram_that_cannot_be_measured(refused: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> RamBandwidth:
        raise NotMeasured("no memory for it")

    monkeypatch.setattr(ram_bandwidth, "measure", fails)
    assert "--ram-bandwidth" in refused(HYBRID)


def test_hops_add_up(said: Run) -> None:
    command = "estimate --weights 8GB --bandwidth 896GB/s --hidden 4096 --rpc"
    one, two = said(f"{command} usb4"), said(f"{command} USB4x2")
    assert 112 > one["decode_ceiling_tok_s"] > two["decode_ceiling_tok_s"]
    assert one["decode_expected_tok_s"] > two["decode_expected_tok_s"]


def test_gpus_that_share_each_layer(said: Run) -> None:
    command = "estimate --weights 40GB --gpu 'RTX 3090' --layers 80 --hidden 8192"
    one, two = said(command), said(f"{command} --gpus 2")
    linked = said(f"{command} --gpus 2 --gpu-link nvlink3")
    assert one["decode_ceiling_tok_s"] < two["decode_ceiling_tok_s"] < linked["decode_ceiling_tok_s"]
    assert linked["decode_ceiling_tok_s"] < 2 * one["decode_ceiling_tok_s"]
    assert any("do not fit" in note for note in one["notes"])
    assert not any("do not fit" in note for note in two["notes"])


def test_a_prompt(said: Run) -> None:
    found = said("estimate --weights 8GB --parameters 8.03e9 --gpu '5070 Ti' --prompt 438")
    assert found["ttft_least_seconds"] == pytest.approx(0.08, rel=0.01)
    assert found["prefill_ceiling_tok_s"] == pytest.approx(87.9e12 / 16.06e9)


def test_a_model_file_and_folder(said: Run, tmp_path: Path) -> None:
    make_model_folder(tmp_path)
    found = said("estimate --gpu 'RTX 4090'", "--model", str(tmp_path / "model.gguf"))
    assert found["weight_bytes"] == 1_049_600
    assert found["kv_bytes_per_token"] == 1 * 8 * (32 + 32) * 2
    (tmp_path / "model.gguf").unlink()
    folder = said("estimate --gpu 'RTX 4090' --context 100", "--model", str(tmp_path))
    assert folder["weight_bytes"] == 1_049_600
    assert any("do not say enough" in note for note in folder["notes"])


def test_weights_that_do_not_fit_are_told(said: Run) -> None:
    found = said("estimate --weights 39.59GiB --gpu 'RTX 4090'")
    assert any("do not fit: 39.59 GiB into 24.00 GiB" in note for note in found["notes"])


def test_what_fits(said: Run, tmp_path: Path) -> None:
    logged = "--memory 79.22GiB --non-torch 1.79GiB --activations 1.26GiB"
    found = said(f"capacity --weights 14.96GiB {SHAPE} {logged}")
    assert found["kv_bytes"] / 2**30 == pytest.approx(53.29, abs=0.01)
    command = f"capacity --weights 8GB --gpu '5070 Ti' {SHAPE}"
    found = said(f"{command} --utilization 0.8 --length 4096 --sequences 32")
    assert found["sequences"] == {"4096": 8}
    assert found["longest"] == 1136
    assert said(f"{command} --engine llama.cpp --kv-type q8_0")["kv_tokens"] > found["kv_tokens"]
    make_model_folder(tmp_path)
    assert said("capacity --memory 1GiB", "--model", str(tmp_path / "model.gguf"))["fits"] is False


def test_what_fits_of_a_model_of_which_a_part_is_in_ram(said: Run) -> None:
    shape = "--weights 42.52GB --layers 80 --kv-heads 8 --head-length 128 --length 8192"
    found = said(
        f"capacity --engine llama.cpp {shape} --memory 2.6GiB --compute-buffer 1.1GiB --offload-layers 2"
    )
    assert found["weight_bytes"] == pytest.approx(42.52e9 / 40)
    assert found["other_bytes"] == pytest.approx(1.1 * 2**30)
    assert found["kv_bytes_per_token"] == 2 * 4096
    assert found["sequences"] == {"8192": 8}
    whole = said(f"capacity --engine llama.cpp {shape} --memory 44GiB")
    assert (whole["other_bytes"], whole["sequences"]) == (2**29, {"8192": 1})


def test_claims_with_those_of_a_person(said: Run, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(
        '[[claims]]\nname = "mine"\ntext = "mine: 50 tok/s"\nfigure = "decode"\nlow = 50\nhigh = 60\n'
        'endpoint = "local"\nsetting = { gpu = "RTX 4090", weights = "4.58GiB" }\n'
    )
    found = said("claims", "--file", str(own))
    verdicts = {claim["name"]: claim["verdict"] for claim in found["claims"]}
    assert len(verdicts) == 11
    assert verdicts["mine"] == "possible"
    assert verdicts["hybrid-70b"] == "impossible"
    assert len(found["slips"]) == 5


def test_the_usual_file_of_a_person_is_read_where_it_is_there(
    said: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "claims.toml"
    own.write_text("[[slips]]\nsaid = 'a'\nreally = 'b'\narithmetic = 'c'\n")
    monkeypatch.setattr(cli_claims, "OWN", own)
    assert len(said("claims")["slips"]) == 6


@pytest.mark.parametrize(
    "command",
    [
        "claims",
        "estimate --weights 39.59GiB --gpu 4090 --batch 8 --parameters 7e10 --prompt 9 --draft-accepted 2",
        "estimate --weights 35GB --gpu 4090 --layers 80 --offload-layers 9 --ram-bandwidth 90GB/s",
        f"capacity --weights 8GB --gpu '5070 Ti' {SHAPE} --sequences 3",
        f"capacity --weights 80GB --gpu '5070 Ti' {SHAPE}",
    ],
)
def test_texts_are_no_wider_than_80_columns(command: str, said: Run) -> None:
    lines = said(command, text=True)
    assert lines
    assert max(map(len, lines)) <= 80


SIZES = "estimate --weights 8GB --bandwidth 896GB/s"
SMALL = "capacity --weights 8GB --layers 2 --kv-heads 1 --head-length 1"


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("estimate", "give --model PATH"),
        ("estimate --weights 8", "no size with its unit"),
        ("estimate --weights 8GB", "the daemon names none"),
        ("estimate --weights 8GB --bandwidth 448", "no rate with its unit"),
        ("estimate --weights 8GB --gpu 'RTX 4909'", "near it: RTX 4090, "),
        ("estimate --weights 8GB --gpu foo", "--gpu list names all"),
        ("estimate --weights 8GB --gpu A100", "more than one device"),
        ("estimate --weights 8GB --model x --gpu 4090", "give --model or --weights"),
        ("estimate --model /nonexistent.gguf --gpu 4090", "no such file"),
        (f"{SIZES} --batch 0", "a batch is of 1 or more"),
        (f"{SIZES} --batch many", "no whole number"),
        (f"{SIZES} --draft-accepted 0.5", "a token at least"),
        (f"{SIZES} --draft-accepted nan", "no number above 0"),
        (f"{SIZES} --draft-accepted much", "no number above 0"),
        (f"{SIZES} --offload-layers 4 --ram-bandwidth 90GB/s", "give --layers"),
        (f"{SIZES} --layers 2 --offload-layers 4 --ram-bandwidth 90GB/s", "more layers"),
        (f"{SIZES} --rpc string", "is no link"),
        (f"{SIZES} --gpus 0", "is not from 1 to"),
        (f"{SIZES} --gpus 2", "give --layers and --hidden"),
        (f"{SIZES} --gpus 2 --offload-layers 1 --ram-bandwidth 9GB/s", "not shared by GPUs"),
        (f"{SIZES} --rpc usb4x0", "is no link"),
        (f"{SIZES} --rpc usb4", "give --hidden"),
        (f"{SIZES} --calibrate fast", "is no size or model with its speed"),
        (f"{SIZES} --calibrate 8GB=200", "more than the memory gives"),
        (f"{SIZES} --calibrate 8GB=1.2.3", "is no size or model with its speed"),
        (f"{SIZES} --calibrate /nonexistent=20", "--calibrate: cannot read"),
        ("capacity --weights 8GB", "give --layers, --kv-heads"),
        (f"{SMALL} --memory 16GiB --offload-layers 1", "are of llama.cpp: add --engine"),
        (f"{SMALL} --memory 16GiB --compute-buffer 1GiB", "are of llama.cpp: add --engine"),
        (f"{SMALL} --memory 16GiB --engine llama.cpp --offload-layers 3", "2 blocks has no part of 3"),
        (f"{SMALL} --memory 16GiB --engine llama.cpp --offload-layers 0", "2 blocks has no part of 0"),
        (f"{SMALL} --layers 20000 --gpu 4090", "no model has more than"),
        (f"{SMALL} --gpu 780M", "give --memory"),
        (f"{SMALL} --gpu 4090 --utilization 2", "memory fraction"),
        ("claims --file /nonexistent.toml", "there is no such file"),
        ("claims --file /", "is a directory"),
    ],
)
def test_what_cannot_be_computed_says_what_to_give(command: str, reason: str, refused: Run) -> None:
    assert reason in refused(command)


@pytest.mark.parametrize("content", ["claims = 1", "\udcff", "# " + "x" * 300_000])
def test_a_file_of_claims_that_is_none(content: str, refused: Run, tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    path.write_bytes(content.encode(errors="surrogateescape"))
    assert "cannot read" in refused("claims", "--file", str(path))


def test_a_claim_that_lacks_something_is_named(refused: Run, tmp_path: Path) -> None:
    path = tmp_path / "claims.toml"
    row = 'name = "mine"\ntext = "t"\nfigure = "decode"\nlow = 1\nhigh = 2\nsetting = {}\n'
    path.write_text(f"[[claims]]\n{row}")
    assert "cannot assess a claim: mine" in refused("claims", "--file", str(path))


def test_all_gpus_are_listed(said: Run) -> None:
    rows = said("estimate --gpu list")["devices"]
    assert len(rows) >= 80
    assert rows == said("capacity --gpu list")["devices"]
    assert all(row["source"] and row["bandwidth_bytes_per_second"] for row in rows)
    lines = said("estimate --gpu list", text=True)
    assert len(lines) == len(rows) + 1
    assert any("RTX 4090 " in line and "24.00 GiB" in line for line in lines)


def test_another_memory_than_the_name_states_is_noted(said: Run) -> None:
    assert any(
        "not the 48 GB" in note for note in said("estimate --weights 4GiB --gpu 'RTX 4090 48GB'")["notes"]
    )
    assert not any(
        "of the name" in note for note in said("estimate --weights 4GiB --gpu '4090 24GB'")["notes"]
    )
