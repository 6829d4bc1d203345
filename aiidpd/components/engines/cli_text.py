"""Inference engines as text for people."""

from __future__ import annotations

from aiidpd.cli.engine_text import requests
from aiidpd.cli.text import SIMULATED, UNKNOWN, Document, Paint, cut, number, plain, since, size, span, table

_LONGEST_NAME = 24  # characters
_BAD = frozenset({"hung"})
_DOUBTFUL = frozenset({"stalled", "saturated"})
_NOTHING = (
    "no engine was found: add bench.endpoints or [[engines.servers]], or label its container aiidpd.engine"
)


def engine_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of engines, and a line for each of which something is to be said."""
    rows = [
        (
            cut(plain(each["name"]), _LONGEST_NAME),
            each["engine"] or UNKNOWN,
            each["verdict"],
            each["residency"],
            number(each["requests_running"]),
            number(each["requests_waiting"]),
            number(each["generated_tokens_per_second"], digits=1),
            since(each["read_at"], now),
            SIMULATED if each["simulated"] else "",
        )
        for each in document["engines"]
    ]
    head = ("ENGINE", "KIND", "VERDICT", "MODEL IS", "RUN", "WAIT", "TOKENS/S", "READ", "")
    lines = table(head, rows, paint, right="llllrrr") if rows else [paint.dim(_NOTHING)]
    for each in document["engines"]:
        if each["verdict"] in _BAD | _DOUBTFUL and each["verdict_reason"]:
            text = plain(f"{each['name']}: {each['verdict']}: {each['verdict_reason']}")
            lines.append(paint.bad(text) if each["verdict"] in _BAD else paint.warn(text))
        elif each["reason"]:
            lines.append(paint.dim(plain(f"{each['name']}: {each['reason']}")))
    return lines


def engine_details(engine: Document, now: float, paint: Paint) -> list[str]:
    """Return all that is known of one engine, a line a fact."""
    verdict = engine["verdict"]
    if engine["verdict_since"] is not None:
        verdict += f", since {since(engine['verdict_since'], now)}".replace("since in", "from in")
    facts = [
        ("engine", engine["engine"] or UNKNOWN),
        ("model", engine["model"] or UNKNOWN),
        ("address", engine["url"] or UNKNOWN),
        ("container", engine["container"][:12] or UNKNOWN),
        ("verdict", verdict),
        ("because", engine["verdict_reason"] or UNKNOWN),
        ("the model is", engine["residency"] + _memory(engine)),
        ("it may sleep", "yes: nothing that counts as use is sent to it" if engine["may_sleep"] else "no"),
        ("requests", requests(engine)),
        ("longest prompt", number(engine["longest_prompt_tokens"], "tokens")),
        ("steps", number(engine["steps"])),
        ("generated", f"{number(engine['generated_tokens'], 'tokens')}{_speed(engine)}"),
        ("prompts", number(engine["prompt_tokens"], "tokens")),
        ("read", since(engine["read_at"], now)),
        ("our polls", _polls(engine["polls"])),
    ]
    if engine["reason"]:
        facts.append(("no figures", engine["reason"]))
    wide = max(len(name) for name, _ in facts)
    head = f"{engine['name']}{f'  {SIMULATED}' if engine['simulated'] else ''}"
    return [paint.bold(plain(head)), *(plain(f"  {name.ljust(wide)}  {text}") for name, text in facts)]


def _memory(engine: Document) -> str:
    if engine["model_bytes"] is None:
        return ""
    part = engine["model_gpu_bytes"]
    on_gpu = "" if part is None else f", {size(part)} of it in the GPU's memory"
    return f", {size(engine['model_bytes'])}{on_gpu}"


def _speed(engine: Document) -> str:
    speed = engine["generated_tokens_per_second"]
    return "" if speed is None else f", {number(speed, digits=1)} tokens/s by all requests"


def _polls(polls: Document) -> str:
    parts = [f"each {span(polls['interval_seconds'])}" if polls["interval_seconds"] else "none yet"]
    if polls["requests_per_minute"] is not None:
        busy = span(polls["seconds_per_minute"])
        parts.append(f"a minute {polls['requests_per_minute']:.1f} requests, {busy} of the engine's time")
        parts.append(f"{size(polls['bytes_per_minute'])}")
    if polls["pending_seconds"] is not None:
        parts.append(f"one open for {span(polls['pending_seconds'])}")
    return ", ".join(parts)
