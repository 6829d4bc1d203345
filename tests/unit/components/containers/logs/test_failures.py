"""Failures are named by the lines that engines really write."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.components.containers.logs.failures import (
    _ROWS,
    FAILURES,
    alternatives,
    failure,
    name_failure,
    says_gpu_is_lost,
)

SAID = [
    tuple(line.split(": ", 1))
    for line in Path(__file__).with_name("said.txt").read_text().splitlines()
    if not line.startswith("#")
]
HARMLESS = [
    "INFO 07-17 00:07:05 [__init__.py:244] Automatically detected platform cuda.",
    'INFO: 172.17.0.1:48732 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
    "load_tensors:        CUDA0 model buffer size =  3946.35 MiB",
    "# GPU blocks: 378, # CPU blocks: 1638",
    "slot update_slots: id  0 | task 12 | new prompt, n_ctx_slot = 4096, n_keep = 0",
    "Memory usage: no leak; capacity: 4",
]


@pytest.mark.parametrize(("name", "line"), SAID)
def test_a_failure_is_named_by_its_line(name: str, line: str) -> None:
    found = name_failure(["loading", line, "Traceback follows"])
    assert found is not None
    assert (found.failure.name, found.line) == (name, line)


@pytest.mark.parametrize("line", HARMLESS)
def test_an_ordinary_line_names_nothing(line: str) -> None:
    assert name_failure([line]) is None


def test_each_failure_has_a_line_that_names_it() -> None:
    assert {name for name, _ in SAID} == {each.name for each in FAILURES}
    assert all(each.title and each.remedy for each in FAILURES)
    assert failure("gpu_lost") in FAILURES
    assert failure("nothing") is None


@given(data=st.data())
def test_whatever_a_pattern_stands_for_is_found(data: st.DataObject) -> None:
    row = data.draw(st.sampled_from(_ROWS))
    pattern = data.draw(st.sampled_from([*row.words, *row.general]))
    each = data.draw(st.sampled_from(alternatives(pattern)))
    assert name_failure([data.draw(st.from_regex(re.compile(each)))]) is not None


def test_the_cause_counts_before_its_consequence() -> None:
    found = name_failure(
        [
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 1 MiB: cudaMalloc failed: out of memory",
            "llama_model_load_from_file_impl: failed to load model",
            "srv    load_model: failed to load model, '/models/x.gguf'",
        ]
    )
    assert found is not None
    assert found.failure.name == "gpu_memory"
    alone = name_failure(["srv    load_model: failed to load model, '/models/x.gguf'"])
    assert alone is not None
    assert alone.failure.name == "model_missing"


def test_the_last_of_two_is_what_it_died_of() -> None:
    found = name_failure(["CUDA out of memory", *["went on"] * 50, "No space left on device"])
    assert found is not None
    assert found.failure.name == "disk_full"


def test_a_kill_for_memory_leaves_no_line() -> None:
    found = name_failure(["working"], exit_code=137, out_of_memory=True)
    assert found is not None
    assert (found.failure.name, found.line) == ("host_memory", "")
    assert name_failure(["working"], exit_code=137) is None
    assert name_failure(["working"], exit_code=1, out_of_memory=True) is None


def test_lines_that_say_that_the_gpu_is_gone() -> None:
    assert says_gpu_is_lost("Failed to initialize NVML: Unknown Error")
    assert not says_gpu_is_lost("Failed to initialize NVML: Driver/library version mismatch")


@given(st.lists(st.text(max_size=300), max_size=20))
def test_any_lines_are_read(lines: list[str]) -> None:
    name_failure(lines)


@pytest.mark.parametrize(
    "part",
    [
        *("Free memory on device", "quantization method ", "Model architectures ", "/dev/shm/nccl-"),
        *("Min capability: 1", "401 Client Error", "Access to model ", "unable to open", "max seq len (1"),
        *("error: argument ", " ", "a", "é"),
    ],
)
def test_a_hostile_line_costs_no_more_than_its_length(part: str) -> None:
    # Patterns that go back over what they read would take minutes here.
    before = time.process_time()
    name_failure([part * (4096 // len(part))] * 20)
    assert time.process_time() - before < 30
