"""A made-up inference engine as a program: ``python3 engine.py [PORT]``, in a container of the tests.

It behaves as the file ``engine.json`` beside it says, so that images of it differ: ``gap`` seconds a token,
``answer`` (words that it repeats), ``listens_after`` seconds (none: never), ``dies_after`` seconds and with
which ``code``, ``hangs`` (it takes requests and answers none), ``fails_after`` so many
requests, ``eats`` memory until it is killed.
"""

from __future__ import annotations

import json
import math
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOW = json.loads(Path(__file__).with_name("engine.json").read_text())
LOCK = threading.Lock()
BUSY = [0]
ASKED = [0]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer a page."""
        if self.path == "/v1/models":
            self._document(
                {"object": "list", "data": [{"id": "tiny", "object": "model", "owned_by": "vllm"}]}
            )
        elif self.path == "/health":
            self._document({})
        elif self.path == "/metrics":
            lines = [
                f'vllm:num_requests_running{{model_name="tiny"}} {BUSY[0] + HOW.get("busy", 0)}',
                'vllm:num_requests_waiting{model_name="tiny"} 0',
            ]
            self._send("text/plain", ("\n".join(lines) + "\n").encode())
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        """Stream a completion, a token a chunk."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if HOW.get("hangs"):
            time.sleep(3600)
        ASKED[0] += 1
        if ASKED[0] > HOW.get("fails_after", math.inf):
            self.send_error(500)
            return
        words = str(HOW.get("answer", "the sea is salt")).split()
        count = int(body.get("max_tokens") or 16)
        usage = {"prompt_tokens": 12, "completion_tokens": count, "total_tokens": 12 + count}
        if not body.get("stream"):
            text = " ".join(words[at % len(words)] for at in range(count))
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "length",
            }
            self._document({"choices": [choice], "usage": usage})
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with LOCK:
            BUSY[0] += 1
        try:
            began = time.monotonic() + float(HOW.get("first", 0.005))
            for at in range(count):
                time.sleep(max(0.0, began + at * float(HOW.get("gap", 0.001)) - time.monotonic()))
                delta = {"content": words[at % len(words)] + " "}
                self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
            self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": usage})
            self.wfile.write(b"data: [DONE]\n\n")
        finally:
            with LOCK:
                BUSY[0] -= 1
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Write nothing."""

    def _event(self, document: object) -> None:
        self.wfile.write(f"data: {json.dumps(document)}\n\n".encode())
        self.wfile.flush()

    def _document(self, document: object) -> None:
        self._send("application/json", json.dumps(document).encode())

    def _send(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def write(line: str) -> None:
    """Write a line of the log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def end() -> None:
    """End as the file says."""
    time.sleep(float(HOW["dies_after"]))
    if HOW.get("eats"):
        held = []
        while True:
            held.append(bytearray(os.urandom(1 << 20)))
    write("RuntimeError: api_key=sk-abcdefabcdefabcdef0123 no kernel image is available")
    os._exit(int(HOW.get("code", 3)))


def main() -> None:
    """Serve until ended."""
    write(f"engine {HOW.get('version', '?')} starts")
    if "dies_after" in HOW:
        threading.Thread(target=end, daemon=True).start()
    if HOW.get("listens_after", 0) is None:
        time.sleep(3600)
    time.sleep(float(HOW.get("listens_after", 0)))
    ThreadingHTTPServer.request_queue_size = 64
    ThreadingHTTPServer(("", int(sys.argv[1]) if len(sys.argv) > 1 else 8000), Handler).serve_forever()


if __name__ == "__main__":
    main()
