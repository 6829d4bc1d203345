"""A stand-in for the Hugging Face hub, over HTTP on loopback, that the real huggingface_hub downloads from.

It answers what ``snapshot_download`` and ``hf_hub_download`` request of a model: its revision, its tree, its
files with ``ETag`` and commit. Large files are in LFS, and in Xet where ``xet`` says so: their content then
lies in a local store of hf_xet's own (``local://``), from which hf_xet itself rebuilds them, so that shared
payloads come about as they do with the real hub. :func:`download` runs in a process of its own: the library
reads its environment once.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

_LFS_FROM_BYTES = 1024


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class HubFile:
    content: bytes
    xet: str = ""
    """Its Xet hash; empty where it is not in Xet."""

    @property
    def lfs(self) -> bool:
        return len(self.content) >= _LFS_FROM_BYTES

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else git_sha1(self.content)


@dataclass
class HubRevision:
    commit: str
    files: dict[str, HubFile] = field(default_factory=dict)


class Hub:
    """The stand-in: ``with Hub(folder) as hub``, ``hub.publish(...)``, ``hub.url``."""

    def __init__(self, folder: Path) -> None:
        self.store = f"local://{folder / 'cas'}"
        self._folder = folder
        self.repositories: dict[str, dict[str, HubRevision]] = {}
        """Revisions by branch or commit, of each repository."""
        self.requests: list[str] = []
        handler = type("Handler", (_Handler,), {"hub": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        (self._folder / "cas").mkdir(parents=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def publish(
        self, repository: str, files: dict[str, bytes], *, branch: str = "main", xet: bool = False
    ) -> HubRevision:
        """Add a revision with ``files`` to ``repository``; return it."""
        revision = HubRevision(
            hashlib.sha1(repr((repository, files)).encode(), usedforsecurity=False).hexdigest()
        )
        revision.files = {name: HubFile(content) for name, content in files.items()}
        large = [file for file in revision.files.values() if xet and file.lfs]
        for file, name in zip(large, self._into_xet([file.content for file in large]), strict=True):
            file.xet = name
        revisions = self.repositories.setdefault(repository, {})
        revisions[branch] = revisions[revision.commit] = revision
        return revision

    def _into_xet(self, contents: list[bytes]) -> list[str]:
        """Store ``contents`` in the local store by hf_xet; return their Xet hashes."""
        paths = [self._folder / f"upload-{number}" for number in range(len(contents))]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        if not paths:
            return []
        return _run(_UPLOAD, [self.store, *map(str, paths)], {"HF_HOME": str(self._folder / "home")}).split()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name of the base class
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path).strip("/").split("/")
        self.hub.requests.append(f"{self.command} {url.path}")
        if path[:2] == ["api", "models"]:
            self._api(path[2:])
        elif len(path) > 4 and path[2] == "resolve":
            self._resolve("/".join(path[:2]), path[3], "/".join(path[4:]))
        else:
            self._send(404, b"{}")

    def _api(self, path: list[str]) -> None:
        name, action, rest = "/".join(path[:2]), path[2:3], path[3:]
        if action == ["xet-read-token"]:
            headers = {
                "X-Xet-Cas-Url": self.hub.store,
                "X-Xet-Access-Token": "token",
                "X-Xet-Token-Expiration": str(int(time.time()) + 3600),
            }
            self._send(200, b"{}", headers)
            return
        revision = self.hub.repositories.get(name, {}).get(rest[0] if rest else "main")
        if revision is None:
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        elif action == ["tree"]:
            self._send(200, json.dumps([self._entry(*item) for item in revision.files.items()]).encode())
        else:
            siblings = [{"rfilename": path} for path in revision.files]
            self._send(200, json.dumps({"id": name, "sha": revision.commit, "siblings": siblings}).encode())

    def _entry(self, path: str, file: HubFile) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "type": "file", "path": path, "size": len(file.content), "oid": git_sha1(file.content)
        }  # fmt: skip
        if file.lfs:
            entry["lfs"] = {"oid": file.sha256, "size": len(file.content), "pointerSize": 130}
        if file.xet:
            entry["xetHash"] = file.xet
        return entry

    def _resolve(self, name: str, revision: str, path: str) -> None:
        known = self.hub.repositories.get(name, {}).get(revision)
        file = known and known.files.get(path)
        if known is None or file is None:
            headers = {"X-Error-Code": "EntryNotFound"}
            self._send(404, b"", headers | ({"X-Repo-Commit": known.commit} if known else {}))
            return
        headers = {"ETag": f'"{file.etag}"', "X-Repo-Commit": known.commit}
        if file.lfs:
            headers |= {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(len(file.content))}
        if file.xet:
            headers["X-Xet-Hash"] = file.xet
            headers["X-Xet-Refresh-Route"] = f"{self.hub.url}/api/models/{name}/xet-read-token/{known.commit}"
        self._send(200, file.content, headers)

    def _send(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


_UPLOAD = """
import sys, hf_xet
store, *paths = sys.argv[1:]
with hf_xet.XetSession().new_upload_commit(endpoint=store) as commit:
    for path in paths:
        commit.start_upload_file(path)
print(*[info.hash for info in hf_xet.hash_files(paths)])
"""
_DOWNLOAD = """
import json, sys
from huggingface_hub import snapshot_download
print(snapshot_download(**json.loads(sys.argv[1])))
"""


def download(hub: Hub, home: Path, repository: str, *, shared: bool = True, **options: Any) -> Path:
    """Download ``repository`` by the real library in a process of its own; return the snapshot's folder.

    Into the cache ``home/hub``, or into ``local_dir``. ``shared``: with the store that repositories share.
    """
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_SHARED_BLOBS": "0" if shared else "1",
        "NO_PROXY": "127.0.0.1",
    }
    done = _run(_DOWNLOAD, [json.dumps({"repo_id": repository, **options})], environment)
    return Path(done.strip().splitlines()[-1])


def _run(program: str, arguments: list[str], environment: dict[str, str]) -> str:
    """Run ``program`` with no variable of Hugging Face but ``environment``; return its output."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"it failed: {done.stderr[-2000:]}")
    return done.stdout
