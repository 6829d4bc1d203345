"""Models as views show them, made up."""

from __future__ import annotations

from typing import Any

from aiidpd.components.models.backed_up import BackupState
from aiidpd.components.models.signatures import SignatureState
from aiidpd.components.models.view import ModelInfo, SignatureInfo, UpstreamState


def model_info(name: str, **more: Any) -> ModelInfo:
    """Return a model of which nothing is known but ``more``."""
    given: dict[str, Any] = {
        "name": name,
        "label": name,
        "layout": "folder",
        "root": "/m",
        "folder": "/m",
        "disk": "/m",
        "repository": "",
        "revision": "",
        "refs": (),
        "format": "gguf",
        "architecture": "",
        "parameters": None,
        "active_parameters": None,
        "quantization": "",
        "context_length": None,
        "tensor_bytes": None,
        "size_bytes": 0,
        "file_count": 1,
        "problems": (),
        "proven_bytes": 0,
        "read_at": None,
        "uses": (),
        "last_used_at": None,
        "last_used_by": "",
        "backup": BackupState.UNKNOWN,
        "backed_up_at": None,
        "backup_reason": "",
        "upstream": UpstreamState.NONE,
        "upstream_commit": "",
        "upstream_at": None,
        "upstream_reason": "",
        "signature": SignatureInfo(SignatureState.NONE),
    }
    return ModelInfo(**(given | more))
