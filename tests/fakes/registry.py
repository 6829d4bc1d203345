"""A registry of images on loopback, as Docker pulls from one: manifest, configuration and layer of each."""

from __future__ import annotations

import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_UNKNOWN: Final = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'


class Registry:
    """Images by repository and tag; ``asked`` has the paths that were asked for."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, bytes]] = {"/v2/": ("application/json", b"{}")}
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def add(self, repository: str, tag: str, archive: bytes, **config: Any) -> str:
        """Add an image with the files in ``archive``; return its whole name."""
        layer = gzip.compress(archive, mtime=0)
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [_digest(archive)]},
        }
        data = json.dumps(document).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": {"mediaType": _CONFIG, "size": len(data), "digest": _digest(data)},
            "layers": [{"mediaType": _LAYER, "size": len(layer), "digest": _digest(layer)}],
        }
        whole = json.dumps(manifest).encode()
        for blob in (data, layer):
            self.pages[f"/v2/{repository}/blobs/{_digest(blob)}"] = "application/octet-stream", blob
        for reference in (tag, _digest(whole)):
            self.pages[f"/v2/{repository}/manifests/{reference}"] = _MANIFEST, whole
        return f"{self.address}/{repository}:{tag}"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve for the time of a block."""
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        registry = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self) -> None:
                registry.asked.append(self.path)
                kind, data = registry.pages.get(self.path, ("", _UNKNOWN))
                self.send_response(200 if kind else 404)
                self.send_header("Content-Type", kind or "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.send_header("Docker-Content-Digest", _digest(data))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            do_HEAD = do_GET  # noqa: N815 -- its name in the library

            def log_message(self, *_: object) -> None:
                """Write nothing."""

        return Handler


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
