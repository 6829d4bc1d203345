"""Failures that have a name, by the lines that engines, drivers and runtimes write about them (pure).

Each pattern is made of words from the source of the program that writes them, or from reports of its users;
they are named beside it. Gaps in a pattern are bounded, so that it takes time in proportion to the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

GPU_LOST: Final = "gpu_lost"
HOST_MEMORY: Final = "host_memory"
_KILLED: Final = 137  # exit code after SIGKILL
_LONGEST: Final = 2048  # characters of a line that are compared
_VARIABLE: Final = re.compile(r"\(\?:[^)]*\)\??|\(\?!\)|.\?|.\{\d+,\d+\}|\\.|[\[\](){}*+^$.]")
"""Part of a pattern that does not stand for one text: between such parts is what each match has in it."""
_SHORTEST_WORDS: Final = 4  # characters


@dataclass(frozen=True, slots=True)
class Failure:
    """A known failure: its name, a title in a few words, and what to do about it."""

    name: str
    title: str
    remedy: str


@dataclass(frozen=True, slots=True)
class NamedFailure:
    """A failure that was recognised; ``line`` is the line that said so, empty where another fact did."""

    failure: Failure
    line: str = ""


@dataclass(frozen=True, slots=True)
class LastFailure:
    """Last failure of a container that has a name. ``at`` is in Unix seconds; ``line`` has no secret."""

    container: str
    at: float
    named: NamedFailure
    line: str
    exit_code: int | None = None

    @property
    def sentence(self) -> str:
        """Return it in words."""
        return f"{self.named.failure.title}" + (f": {self.line!r}" if self.line else "")


@dataclass(frozen=True, slots=True)
class _Row:
    failure: Failure
    words: tuple[str, ...]
    general: tuple[str, ...] = ()  # of a consequence: they count where nothing more precise was said

    def pattern(self) -> re.Pattern[str]:
        return re.compile("|".join(self.words) or r"(?!)", re.IGNORECASE)

    def consequence(self) -> re.Pattern[str]:
        return re.compile("|".join(self.general) or r"(?!)", re.IGNORECASE)


# In the order in which they are tried on one line: the more precise first.
_ROWS: Final = (
    _Row(
        Failure(
            GPU_LOST,
            "the container has lost its GPU",
            "create it anew: a restart is not always enough. `systemctl daemon-reload` takes GPUs from "
            "containers under the systemd cgroup driver; nvidia-container-toolkit 1.18 or newer with CDI "
            "prevents that",
        ),
        (
            # NVIDIA/nvidia-docker#1730, nvidia-container-toolkit#48, #1227, #1744
            r"Failed to initialize NVML: (?:Unknown Error|GPU is lost)",
            # CUDA: cudaErrorNoDevice (100); ggml_cuda_init in llama.cpp's ggml-cuda.cu prints its text
            r"no CUDA-capable device is detected|CUDA_ERROR_NO_DEVICE|cudaErrorNoDevice",
            # PyTorch, torch/csrc/cuda: device count of 0 at initialisation
            r"No CUDA GPUs are available",
            r"CUDA error: operation not permitted|CUDA_ERROR_NOT_PERMITTED",
        ),
    ),
    _Row(
        Failure(
            "driver_too_old",
            "the NVIDIA driver does not fit what runs in the container",
            "update the driver, or reboot where it was just updated; else use an image for an older CUDA",
        ),
        (
            # Text and name of error 35 of the CUDA runtime
            r"CUDA driver version is insufficient for CUDA runtime version|cudaErrorInsufficientDriver",
            r"NVIDIA driver on your system is too old",  # PyTorch, torch.cuda
            r"unsatisfied condition: cuda ?>=",  # nvidia-container-cli: nvidia-container-toolkit#152
            r"Driver/library version mismatch",  # NVML_ERROR_LIB_RM_VERSION_MISMATCH, after an update
        ),
    ),
    _Row(
        Failure(
            "kv_cache_too_small",
            "the memory that is left for the KV cache is too little for the longest context",
            "lower --max-model-len, raise --gpu-memory-utilization, or use a smaller --kv-cache-dtype",
        ),
        (
            # vLLM, v1/core/kv_cache_utils.py; before: worker.py (vllm#2418)
            r"To serve at least one request with the models?'?s? max seq len",
            r"max seq len \(\d{1,12}\) is larger than the maximum number of tokens that can be stored in KV",
            r"No available memory for the cache blocks",  # vllm#2248
            r"Not enough memory\. Please try to increase --mem-fraction-static",  # SGLang, model_runner.py
        ),
    ),
    _Row(
        Failure(
            "gpu_memory",
            "the GPU has too little free memory",
            "see `aiidpctl gpu` for who holds it; use a smaller model, quantisation or context, or fewer "
            "layers on the GPU (--n-gpu-layers), or lower --gpu-memory-utilization",
        ),
        (
            # PyTorch's words, then text and names of error 2 of the CUDA runtime
            r"CUDA out of memory|torch\.(?:cuda\.)?OutOfMemoryError|CUDA error: out of memory",
            r"CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation",
            # vLLM, v1/worker/utils.py: the wording with and without the device (vllm#20305, pytorch#175666)
            r"Free memory on device.{0,80}less than desired GPU memory utilization",
            # llama.cpp: ggml-cuda.cu, ggml-alloc.c, llama-model.cpp (llama.cpp#20431, ollama#6860)
            r"cudaMalloc failed: out of memory",
            r"failed to allocate (?:CUDA|ROCm|Vulkan)\d{0,3} buffer",
            r"unable to allocate (?:CUDA|ROCm|Vulkan)\d{0,3} buffer",
            r"failed to allocate compute (?:pp )?buffers",
        ),
    ),
    _Row(
        Failure(
            "not_supported",
            "this GPU or this version of the engine does not support the model or its quantisation",
            "use another quantisation, an image that is built for this GPU, or a newer version of the engine",
        ),
        (
            r"no kernel image is available for execution on the device|cudaErrorNoKernelImageForDevice",
            # vLLM, config and compressed_tensors.py (vllm#4327, #14040)
            r"quantization (?:method|scheme).{0,80}not supported for.{0,20}the current GPU",
            r"Min(?:imum)? capability: \d{1,4}.{0,40}Current capability",
            r"Model architectures .{0,200}are not supported for now",  # vLLM, models/registry.py
            # llama.cpp: llama-model.cpp, gguf.cpp
            r"unknown model architecture: '|this GGUF file is version|GGUFv1 is no longer supported",
            r"unknown pre-tokenizer type|invalid ggml type",
        ),
    ),
    _Row(
        Failure(
            "port_taken",
            "another program has the port",
            "`ss -ltnp` says who listens; stop that, or give this container another port",
        ),
        (
            r"port is already allocated",  # Docker: moby's portallocator, in the error of the start
            r"address already in use|EADDRINUSE",  # uvicorn (vLLM, SGLang), Go (Ollama), Docker's proxy
            r"couldn't bind HTTP server socket",  # llama.cpp, tools/server/server-http.cpp
        ),
    ),
    _Row(
        Failure(
            "shared_memory",
            "the container has too little shared memory",
            "start it with --ipc=host or a larger --shm-size (compose: shm_size)",
        ),
        (
            # NCCL, misc/shmutils.cc (vllm#18831, llm-d#352, nccl#290)
            r"shm/nccl-.{0,80}No space left on device|Error while creating shared memory segment",
            r"Call to posix_fallocate failed.{0,40}No space left on device",
            r"out of shared memory|killed by signal: Bus error",  # PyTorch, DataLoader
            r"unable to (?:open|write|resize|mmap).{0,40}/dev/shm|No space left on device.{0,40}/dev/shm",
        ),
        (r"\bBus error\b",),
    ),
    _Row(
        Failure("disk_full", "a disk is full", "`df -h` and `docker system df` say which; free some space"),
        (r"No space left on device|ENOSPC|Disk quota exceeded",),  # the C library's words
    ),
    _Row(
        Failure(
            "model_damaged",
            "a file of the model is damaged or incomplete",
            "fetch it again, or restore it from a backup (`aiidpctl backup list`), and compare its checksum",
        ),
        (
            # safetensors, src/tensor.rs, in the words before and from version 0.6 on (safetensors#668)
            r"Error while deserializing header|HeaderTooLarge|MetadataIncompleteBuffer",
            # llama.cpp: gguf.cpp, llama-model-loader.cpp (llama.cpp#3492, inference#1866)
            r"invalid magic (?:number|characters)|is not within the file bounds|failed to read magic",
            r"unknown \(magic, version\) combination",
        ),
    ),
    _Row(
        Failure(
            "model_access",
            "Hugging Face denies access to the model",
            "accept its licence there, and give the container a token that may read it (HF_TOKEN)",
        ),
        (
            # huggingface_hub, utils/_http.py; transformers, utils/hub.py
            r"You are trying to access a gated repo|Cannot access gated repo|GatedRepoError",
            r"Access to model .{0,200} is restricted|Repository Not Found for url|RepositoryNotFoundError",
            r"40[13] Client Error.{0,200}(?:huggingface\.co|hf\.co)|Invalid user ?name or password",
        ),
    ),
    _Row(
        Failure(
            "model_missing",
            "a file of the model is not there",
            "check the path and what is mounted; offline, the model must be in the mounted cache before",
        ),
        (
            # huggingface_hub, file_download.py, _snapshot_download.py (text-generation-inference#3090)
            r"LocalEntryNotFoundError|outgoing traffic has been disabled|OfflineModeIsEnabled",
            r"does not appear to have a file named|Can't load the configuration of",  # transformers
            # llama.cpp: gguf.cpp, llama-mmap.cpp
            r"failed to open GGUF file|gguf_init_from_file.{0,20}failed to open",
            r"Cannot find any model weights",  # vLLM, model_loader
        ),
        (r"failed to load model|error loading model|No such file or directory",),
    ),
    _Row(
        Failure(
            HOST_MEMORY,
            "the machine or the container's limit has too little memory",
            "raise the limit (--memory), or use a smaller model or fewer workers; the kernel's log has "
            "the kill",
        ),
        (
            r"std::bad_alloc|Cannot allocate memory|DefaultCPUAllocator: (?:can't|not enough)|ENOMEM",
            r"failed to allocate CPU\w{0,20} buffer|unable to allocate CPU\w{0,20} buffer",  # llama.cpp
            r"Out of memory: Killed process",
        ),
    ),
    _Row(
        Failure(
            "arguments_refused",
            "the engine does not know one of its arguments",
            "compare the command with the documentation of this version of the engine",
        ),
        (
            r"error: (?:unrecognized arguments|argument .{0,80}(?:invalid|expected))",  # Python's argparse
            r"error: (?:invalid|unknown) argument: ",  # llama.cpp, common/arg.cpp
            r"exec format error|executable file not found in \$PATH",  # runc
        ),
    ),
    _Row(
        Failure(
            "permission_denied",
            "a file may not be read or written",
            "check the owner of what is mounted and the user of the container",
        ),
        (),
        (r"Permission denied|PermissionError|EACCES",),
    ),
)
FAILURES: Final = tuple(row.failure for row in _ROWS)
_BY_NAME: Final = {each.name: each for each in FAILURES}
_PRECISE: Final = tuple((row.failure, row.pattern()) for row in _ROWS)
_GENERAL: Final = tuple((row.failure, row.consequence()) for row in _ROWS if row.general)
_LOST: Final = _PRECISE[0][1]


def alternatives(pattern: str) -> list[str]:
    """Return the alternatives of ``pattern``, those within groups left in them."""
    found, depth = [""], 0
    for character in pattern:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "|" and not depth:
            found.append("")
        else:
            found[-1] += character
    return found


def _texts(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return texts in lower case of which each match of one of ``patterns`` has one."""
    found = {
        max(_VARIABLE.sub("\0", each).split("\0"), key=len).lower()
        for pattern in patterns
        for each in alternatives(pattern)
    }
    if short := [each for each in found if len(each) < _SHORTEST_WORDS]:
        raise ValueError(f"a pattern has too few words in a row: {short}")
    return tuple(sorted(found))


_HINTS: Final = _texts(pattern for row in _ROWS for pattern in (*row.words, *row.general))
_HINTS_LOST: Final = _texts(_ROWS[0].words)
"""To look for them takes a small part of the time of the patterns, and most lines have none."""


def failure(name: str) -> Failure | None:
    """Return the failure called ``name``; None where there is none."""
    return _BY_NAME.get(name)


def name_failure(
    lines: Sequence[str], *, exit_code: int | None = None, out_of_memory: bool = False
) -> NamedFailure | None:
    """Return the failure that the last of ``lines`` with a known one says; None where none does.

    A line about a mere consequence counts where no line says more. ``out_of_memory``: the kernel killed a
    process of the container for memory, as far as its cgroup or the runtime knows.
    """
    general: NamedFailure | None = None
    for line in reversed(lines):
        lower = line[:_LONGEST].lower()
        if not any(hint in lower for hint in _HINTS):
            continue
        found = _first(_PRECISE, line)
        if found is not None:
            return NamedFailure(found, line)
        if general is None and (found := _first(_GENERAL, line)):
            general = NamedFailure(found, line)
    if out_of_memory and exit_code in (None, _KILLED):
        return NamedFailure(_BY_NAME[HOST_MEMORY])
    return general


def says_gpu_is_lost(line: str) -> bool:
    """Return whether ``line`` says that the GPU is no longer there."""
    text = line[:_LONGEST]
    lower = text.lower()
    return any(hint in lower for hint in _HINTS_LOST) and _LOST.search(text) is not None


def _first(rows: Iterable[tuple[Failure, re.Pattern[str]]], line: str) -> Failure | None:
    text = line[:_LONGEST]
    return next((each for each, pattern in rows if pattern.search(text)), None)
