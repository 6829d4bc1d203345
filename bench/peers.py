"""Our streams beside those of guidellm and aiperf, by turns on a server that notes when it wrote each token.

    python -m bench.peers [--rounds 3] [--streams 1,64,256,512]

The two come from PyPI, each into an environment of its own below AIIDPD_BENCH_CACHE (else the user's cache),
made at the first run: guidellm brings 6 GB with it. Their figures are those of the records that they export
of each request. Tokens have no text that matters, so both get a tokenizer of three words, made on the spot.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

from aiidpd.components.bench.stats import measure
from aiidpd.engines.stream import StreamRequest
from aiidpd.engines.streams import Streams
from bench.harness import percentile, report
from tests.fakes import tokens

GUIDELLM, AIPERF = "guidellm==0.8.1", "aiperf==0.13.0"
STREAMS, ROUNDS = "1,64,256,512", 3
FIRST, GAP, TOKENS = 0.5, 0.02, 64
WORDS = 300
AT = {(64, 0.99): 1.0, (512, 0.95): 5.0}  # ms, by streams and percentile
SHARES = (0.5, 0.95, 0.99)
LIMITS = {(figure, *at): limit for figure in ("ttft", "arrival") for at, limit in AT.items()}
GATE = {0.5: 0.03, 0.99: 0.05}  # of the server's own percentile


@dataclass(frozen=True)
class Request:
    """One request as a client exports it, in milliseconds; gaps are those between tokens, if it has any."""

    label: int
    first: float
    """Monotonic seconds at which the first token was there."""
    ttft: float
    pace: float | None
    gaps: Sequence[float] = ()


@dataclass
class Errors:
    """Errors of one client with so many streams, in milliseconds, and what it took to run them."""

    ttft: list[float] = field(default_factory=list)
    """Of TTFT, where the server's own begins once a thread of it has read the request."""
    arrival: list[float] = field(default_factory=list)
    """Of TTFT, where the server's own begins with the request's arrival in its kernel."""
    first: list[float] = field(default_factory=list)
    pace: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)
    true: list[float] = field(default_factory=list)
    on_wire: list[int] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    missing: int = 0

    def add(self, found: Sequence[Request], log: Sequence[tokens.Answer], asked: int, cpu: float) -> None:
        """Add one run of ``asked`` streams that took ``cpu`` seconds."""
        truth = {each.label: each for each in log if len(each.sent) == TOKENS}
        for each in found:
            sent = truth[each.label].sent
            first = (sent[0] - truth[each.label].received) * 1e3
            self.theirs.append(each.ttft)
            self.true.append(first)
            self.ttft.append(each.ttft - first)
            self.arrival.append(each.ttft - (sent[0] - truth[each.label].arrived) * 1e3)
            self.first.append((each.first - sent[0]) * 1e3)
            if each.pace is not None:
                self.pace.append(abs(each.pace - (sent[-1] - sent[0]) / (TOKENS - 1) * 1e3))
            true_gaps = [(later - at) * 1e3 for at, later in pairwise(sent)]
            self.gaps += [abs(ours - gap) for ours, gap in zip(each.gaps, true_gaps, strict=False)]
        self.missing += asked - len(found)
        self.on_wire.append(at_once(log))
        self.cpu.append(cpu)

    def gate(self, share: float) -> float:
        """Return how far the client's percentile of TTFT is off the server's own, as a share of it."""
        true = percentile(self.true, share)
        return abs(percentile(self.theirs, share) - true) / true


def at_once(log: Sequence[tokens.Answer]) -> int:
    """Return how many answers the server was giving at the same time, at most."""
    moments = sorted([(each.received, 1) for each in log] + [(each.sent[-1], -1) for each in log])
    most = now = 0
    for _, change in moments:
        now += change
        most = max(most, now)
    return most


def cache() -> Path:
    """Return the folder that environments are kept in."""
    named = os.environ.get("AIIDPD_BENCH_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(named) if named else base / "aiidpd-bench"


def installed(requirement: str) -> Path:
    """Return the folder of programs of an environment with ``requirement``, made if it is not there."""
    folder = cache() / requirement.replace("==", "-")
    if not (folder / "ready").exists():
        print(f"installing {requirement} into {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        pip = [str(folder / "bin/python"), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
        subprocess.run([*pip, requirement], check=True)
        (folder / "ready").touch()
    return folder / "bin"


def make_inputs(folder: Path, most: int) -> None:
    """Write a tokenizer of three words, and as many prompts as there are streams at most."""
    (folder / "tokenizer").mkdir()
    unknown = {"id": 0, "content": "<unk>", "single_word": False, "lstrip": False, "rstrip": False}
    document = {
        "version": "1.0",
        "added_tokens": [{**unknown, "normalized": False, "special": True}],
        "pre_tokenizer": {"type": "Whitespace"},
        "model": {"type": "WordLevel", "vocab": {"<unk>": 0, "tok": 1, "x": 2}, "unk_token": "<unk>"},
        "truncation": None,
        "padding": None,
        "normalizer": None,
        "post_processor": None,
        "decoder": None,
    }
    (folder / "tokenizer/tokenizer.json").write_text(json.dumps(document))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "model_max_length": 10**6}
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(config))
    lines = [json.dumps({"text": prompt(label)}) for label in range(1, most + 1)]
    (folder / "prompts.jsonl").write_text("\n".join(lines))


def prompt(label: int) -> str:
    """Return the prompt of a stream, by whose label the server knows it."""
    return f"label-{label} {'x ' * WORDS}"


def timed(command: Sequence[str | Path], folder: Path) -> float:
    """Run ``command``; return the processor's seconds of all its processes. Ends the bench if it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def guidellm(server: tokens.TokenServer, folder: Path, streams: int) -> tuple[list[Request], float]:
    """Run guidellm; it exports the first and last token of a request, and none between."""
    url = server.url(first=FIRST, gap=GAP, tokens=TOKENS)
    (folder / "prompts-now.jsonl").write_text(
        "\n".join((folder / "prompts.jsonl").read_text().split("\n")[:streams])
    )
    output = folder / "guidellm.json"
    output.unlink(missing_ok=True)
    command: list[str | Path] = [installed(GUIDELLM) / "guidellm", "run"]
    for option, value in (
        ("backend", f"kind=openai_http,target={url},model=any,http2=false,validate_backend=false"),
        ("tokenizer", f"kind=huggingface_auto,model={folder}/tokenizer"),
        ("profile", f"kind=concurrent,streams={streams}"),
        ("constraint", f"kind=max_requests,count={streams}"),
        ("data", f"kind=json_file,path={folder}/prompts-now.jsonl"),
        ("output", f"kind=json,path={output}"),
    ):
        command += [f"--{option}", value]
    cpu = timed([*command, "--disable-console"], folder)
    found = json.loads(output.read_text())["benchmarks"][0]["requests"]["successful"]
    return [_of_guidellm(each) for each in found], cpu


def _of_guidellm(request: Mapping[str, object]) -> Request:
    ttft, pace = request["time_to_first_token_ms"], request["inter_token_latency_ms"]
    assert isinstance(ttft, float)
    assert isinstance(pace, float)
    info = request["info"]
    assert isinstance(info, dict)
    first = info["timings"]["first_token_iteration"] - _since_epoch()
    return Request(_label(str(request["request_args"])), first, ttft, pace)


def _since_epoch() -> float:
    """Return by how much the real-time clock is ahead of the monotonic one."""
    return time.time() - time.monotonic()


def aiperf(server: tokens.TokenServer, folder: Path, streams: int) -> tuple[list[Request], float]:
    """Run aiperf; it exports each gap."""
    parts = urlsplit(server.url(first=FIRST, gap=GAP, tokens=TOKENS))
    output = folder / f"aiperf-{streams}"
    command: list[str | Path] = [installed(AIPERF) / "aiperf", "profile", "--model", "any", "--streaming"]
    command += ["--url", f"http://{parts.netloc}", "--endpoint-type", "chat"]
    command += ["--custom-endpoint", f"{parts.path}/v1/chat/completions", "--use-server-token-count"]
    command += ["--tokenizer", folder / "tokenizer", "--connection-reuse-strategy", "never"]
    command += ["--concurrency", str(streams), "--request-count", str(streams)]
    command += ["--input-file", folder / "prompts.jsonl", "--custom-dataset-type", "single-turn"]
    command += ["--dataset-sampling-strategy", "sequential", "--export-level", "raw", "--ui-type", "none"]
    command += ["--no-gpu-telemetry", "--no-server-metrics", "--output-artifact-dir", output]
    cpu = timed(command, folder)
    labels = {}
    for line in (output / "profile_export_raw.jsonl").read_text().splitlines():
        raw = json.loads(line)
        labels[raw["metadata"]["x_request_id"]] = _label(json.dumps(raw["payload"]))
    found = []
    for line in (output / "profile_export.jsonl").read_text().splitlines():
        record = json.loads(line)
        metrics = record["metrics"]
        if record.get("error") is None:
            started = record["metadata"]["request_start_ns"] / 1e9 - _since_epoch()
            found.append(
                Request(
                    labels[record["metadata"]["x_request_id"]],
                    started + metrics["time_to_first_token"]["value"] / 1e3,
                    metrics["time_to_first_token"]["value"],
                    metrics["inter_token_latency"]["value"],
                    metrics["inter_chunk_latency"]["value"],
                )
            )
    return found, cpu


def _label(text: str) -> int:
    digits = text.split("label-", 1)[1]
    return int(digits[: next(at for at, each in enumerate(digits) if not each.isdigit())])


def ours(server: tokens.TokenServer, folder: Path, streams: int) -> tuple[list[Request], float]:
    """Run our own; ``folder`` is not used."""
    del folder
    path = urlsplit(server.url(first=FIRST, gap=GAP, tokens=TOKENS)).path
    head = f"POST {path}/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    asked = []
    for label in range(1, streams + 1):
        body = json.dumps({"stream": True, "messages": [{"role": "user", "content": prompt(label)}]})
        asked.append(StreamRequest(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode(), TOKENS))
    run = Streams(("127.0.0.1", server.port), asked).run(60)
    found = []
    for label, each in enumerate(run.streams, 1):
        if each.timeline is not None:
            at = [chunk.at for chunk in each.timeline.chunks]
            pace = measure(each.timeline).time_per_output_token_seconds
            gaps = [(later - first) * 1e3 for first, later in pairwise(at)]
            ttft = (at[0] - each.timeline.started) * 1e3
            found.append(Request(label, at[0], ttft, None if pace is None else pace * 1e3, gaps))
    return found, run.cpu_seconds


CLIENTS: Mapping[str, Callable[[tokens.TokenServer, Path, int], tuple[list[Request], float]]] = {
    "aiidpd": ours,
    "guidellm": guidellm,
    "aiperf": aiperf,
}


def show(streams: int, found: Mapping[str, Errors], alone: Mapping[str, Errors]) -> None:
    """Print what was found with so many streams; ``alone`` is what was with one."""
    for figure in ("ttft", "arrival", "first", "pace", "gaps"):
        for name, errors in found.items():
            values = getattr(errors, figure)
            if not values:
                print(f"{name}: exports no {figure}")
                continue
            figures = {}
            for share in SHARES:
                limit = LIMITS.get((figure, streams, share)) if name == "aiidpd" else None
                figures[f"{name}, p{share * 100:.0f}"] = (percentile(values, share), limit)
            report(f"{streams} streams: {name}, error of {figure}", f"ms {figure}", figures)
    for name, errors in found.items():
        gates = {
            f"{name}, p{share * 100:.0f}": (errors.gate(share), GATE[share] if name == "aiidpd" else None)
            for share in GATE
        }
        report(f"{streams} streams: {name}, TTFT off the server's percentile", "of it", gates)
        wire = {name: (float(min(errors.on_wire)), float(streams) if name == "aiidpd" else None)}
        report(f"{streams} streams: {name}, at once by the server's count, least", "", wire)
        base = percentile(alone[name].cpu, 0.5) if name in alone and streams > 1 else 0.0
        each = (percentile(errors.cpu, 0.5) - base) / max(1, streams - bool(base)) * 1e3
        report(
            f"{streams} streams: {name}, cpu",
            "",
            {
                "seconds of a run": (percentile(errors.cpu, 0.5), None),
                "ms a stream beyond the first": (each, None),
                "requests without a record": (float(errors.missing), None),
            },
        )


def main() -> None:
    """Measure by turns and print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--streams", default=STREAMS)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    options = parser.parse_args()
    counts = [int(each) for each in options.streams.split(",")]
    names = options.clients.split(",")
    with tempfile.TemporaryDirectory(prefix="aiidpd-bench-") as name:
        folder = Path(name)
        make_inputs(folder, max(counts))
        program = tokens.build(folder)
        if program is None:
            sys.exit(f"the server needs gcc: {tokens.HOW_TO_GET}")
        with tokens.running(program) as server:
            alone: dict[str, Errors] = {}
            for count in counts:
                errors = {each: Errors() for each in names}
                for _ in range(options.rounds):
                    for each in names:
                        server.answers()
                        found, cpu = CLIENTS[each](server, folder, count)
                        errors[each].add(found, server.answers(), count, cpu)
                alone = alone or errors
                print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
                show(count, errors, alone)


if __name__ == "__main__":
    main()
