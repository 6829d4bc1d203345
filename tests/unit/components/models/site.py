"""Folders of real models, and scans of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from aiidpd.components.models.record import InspectedRecord, ModelRecords
from aiidpd.components.models.registry import Known
from aiidpd.components.models.scan import ScanControl, scan
from aiidpd.components.models.scanned import FileStamp, Scan, ScannedFile, ScannedModel
from aiidpd.formats.model_files import Layout, ModelFile, ModelFiles, Proof
from tests.fakes.llama import make_model

MIB = 2**20


def safetensors(path: Path, *, seed: int = 1, kib: int = 1200) -> None:
    """Write a safetensors file of random weights."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).standard_normal((kib, 256), dtype=np.float32)
    save_file({"model.embed_tokens.weight": values}, path)


def folder_model(path: Path, *, seed: int = 1) -> None:
    """Make a folder at ``path`` with one safetensors model."""
    safetensors(path / "model.safetensors", seed=seed)
    (path / "config.json").write_text(
        '{"model_type": "llama", "torch_dtype": "float32", "max_position_embeddings": 4096}'
    )


def gguf(path: Path, seed: int = 7) -> None:
    """Write a GGUF model that llama-server loads, of more than 1 MiB."""
    path.parent.mkdir(parents=True, exist_ok=True)
    make_model(path, width=128, seed=seed)


def scanned(*folders: Path, known: Mapping[str, InspectedRecord] | None = None) -> Scan:
    """Scan ``folders``."""
    return scan([(folder, True) for folder in folders], known or {}, ScanControl())


def records_of(found: Scan) -> dict[str, InspectedRecord]:
    """Return what a daemon remembers of the models of a scan."""
    return {
        each.key: InspectedRecord(
            each.fingerprint,
            each.label,
            each.folder,
            each.model.facts,
            each.model.problems,
            each.signature,
        )
        for each in found.models
    }


def known_of(*folders: Path) -> Known:
    """Return what is known after a scan of ``folders``."""
    return replace(Known(Scan(), ModelRecords()), scan=scanned(*folders))


def made_up(
    name: str,
    *paths: str,
    size: int = 2 * MIB,
    proof: Proof | None = None,
    inode: int | None = None,
    device: int = 1,
    layout: Layout = Layout.FOLDER,
    revision: str = "",
    refs: tuple[str, ...] = (),
    repository: str = "",
) -> ScannedModel:
    """Return a model that no disk has, with files at ``paths``."""
    files = tuple(
        ScannedFile(
            path,
            (Path(path).name,),
            FileStamp(size, 1_000_000_000, hash(path) & 0xFFFFFF if inode is None else inode),
            device,
            proof,
        )
        for path in paths
    )
    model = ModelFiles(
        layout=layout,
        name=name,
        root="/m",
        repository=repository,
        revision=revision,
        refs=refs,
        files=tuple(ModelFile(file.names[0], file.path, size, proof) for file in files),
    )
    return ScannedModel("/m", model, files, f"print of {name}", tuple(paths))
