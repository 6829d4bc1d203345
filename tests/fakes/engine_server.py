"""A scripted inference engine on loopback TCP: the pages of one engine, in a state that the test sets.

``async with EngineServer("vllm") as engine`` serves at ``engine.url``. Its kinds are vllm, llama.cpp,
llama.cpp-router, sglang, tgi, ollama, tensorrt-llm and llama-swap. What a test does to it, at any time:

``serve(running=2, waiting=1)``  requests run: steps and tokens move with the clock, ``rate`` steps a second
``saturate()``                   requests run and many wait
``prefill(tokens)``              one request whose prompt is read: steps move (its batches), no token comes
``hang()``                       requests stay, nothing moves; /health answers 200; a completion never answers
``block()``                      the pages that wait for a decode answer no more either
``load()``                       it loads its model: it answers 503, or refuses, until ``loaded()``
``sleep()``, ``unload()``        the model is asleep, or not in memory; a use wakes or loads it
``lose_gpu()``                   completions fail with the driver's words
``die()``                        the port refuses; ``revive()`` serves there again, with counters from 0

A completion (streamed or not) gives ``max_tokens`` tokens at once, and counts as use. What came of it all:
``uses`` (completions, and pages that reset an idle clock), ``wakes``, ``loads``, ``evictions``, ``requests``
(method and path), ``most_in_flight`` and ``drains`` (reads of a page that takes away what it shows).
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from typing import Any, Final, Self

from aiohttp import web

from tests.fakes import engine_pages as pages

KINDS: Final = (
    "vllm",
    "llama.cpp",
    "llama.cpp-router",
    "sglang",
    "tgi",
    "ollama",
    "tensorrt-llm",
    "llama-swap",
)
_LISTENS_ONCE_LOADED: Final = frozenset({"vllm", "sglang", "tgi", "tensorrt-llm"})
_WAITS: Final = {"/metrics": ("llama.cpp",), "/slots": ("llama.cpp",)}  # pages that wait for a decode
_BEGINNING: Final = 0.0


class EngineServer:
    """One engine of ``kind`` that has ``models``; ``monotonic`` is the clock by which it makes progress."""

    def __init__(
        self,
        kind: str = "vllm",
        *models: str,
        monotonic: Callable[[], float] = time.monotonic,
        rate: float = 50.0,
        metrics: bool = True,
        slots: bool = True,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(kind)
        self.kind = kind
        self.models = models or ("m",)
        self.resident = set(self.models[:1])
        self.asleep = False
        self.loading = False
        self.lost_gpu = False
        self.metrics = metrics
        self.slots = slots
        self.running = 0
        self.waiting = 0
        self.prompt = 0  # tokens of the prompt that each request has
        self.requests: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.uses = self.wakes = self.loads = self.evictions = self.drains = 0
        self.in_flight = self.most_in_flight = 0
        self.port = 0
        self._monotonic = monotonic
        self._rate = rate
        self._generating = True
        self._moving = True
        self._blocked = asyncio.Event()
        self._blocked.set()
        self._since = monotonic()
        self._steps = _BEGINNING
        self._tokens = _BEGINNING
        self._prompts = 0
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    # What a test does to it.

    def serve(self, running: int = 1, waiting: int = 0, *, prompt: int = 200) -> None:
        self._settle()
        self.running, self.waiting, self.prompt = running, waiting, prompt
        self._moving, self._generating = running > 0, True
        self._blocked.set()

    def idle(self) -> None:
        self.serve(0)

    def saturate(self) -> None:
        self.serve(8, 100)

    def prefill(self, tokens: int = 100_000) -> None:
        self.serve(1, prompt=tokens)
        self._generating = False

    def hang(self) -> None:
        self._settle()
        self.running = max(1, self.running)
        self._moving = False

    def block(self) -> None:
        self.hang()
        self._blocked.clear()

    async def load(self) -> None:
        """Load until ``loaded`` is called."""
        self.loading = True
        if self.kind in _LISTENS_ONCE_LOADED:
            await self.die()

    async def loaded(self) -> None:
        self.loading = False
        if self._runner is None:
            await self._listen()

    def sleep(self) -> None:
        self.idle()
        self.asleep = True

    def unload(self) -> None:
        self.idle()
        self.resident.clear()

    def lose_gpu(self) -> None:
        self.lost_gpu = True

    async def die(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            self._blocked.set()
            await runner.cleanup()

    async def revive(self) -> None:
        self._steps, self._tokens, self._prompts = _BEGINNING, _BEGINNING, 0
        self.idle()
        await self._listen()

    @property
    def steps(self) -> int:
        self._settle()
        return math.floor(self._steps)

    # How it answers.

    async def _listen(self) -> None:
        app = web.Application(middlewares=[self._counted])
        for path, answer in self._pages().items():
            app.router.add_get(path, answer)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_post("/v1/completions", self._complete)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    @web.middleware
    async def _counted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        self.headers.append(dict(request.headers))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            if self.loading and self.kind in ("llama.cpp", "tensorrt-llm"):
                error = {"code": 503, "message": "Loading model", "type": "unavailable_error"}
                return web.json_response({"error": error}, status=503)
            if self.kind in _WAITS.get(request.path, ()):
                await self._blocked.wait()
            found: web.StreamResponse = await handler(request)
            return found
        finally:
            self.in_flight -= 1

    def _pages(self) -> dict[str, Any]:
        found = {"/v1/models": self._shown(self._models), **self._own_pages()}
        if self.kind != "ollama":
            # SGLang generates a token for it.
            found["/health"] = self._shown(lambda: "", use=self.kind == "sglang")
        if self.metrics and self.kind in ("vllm", "llama.cpp", "sglang", "tgi"):
            # As old versions of llama.cpp do it: to read the page is a use.
            found["/metrics"] = self._shown(self._figures, use=self.kind == "llama.cpp")
        if self.slots and self.kind == "llama.cpp":
            found["/slots"] = self._shown(self._slots, use=True)
        return found

    def _own_pages(self) -> dict[str, Any]:  # noqa: PLR0911 -- a table
        """Return the pages that no other kind has."""
        shown = self._shown
        match self.kind:
            case "llama.cpp":
                return {"/props": shown(self._props), "/models": shown(self._models)}
            case "llama.cpp-router":
                models = shown(self._router_models)
                return {"/props": shown(pages.router_props), "/models": models, "/v1/models": models}
            case "ollama":
                return {
                    "/": shown(lambda: "Ollama is running"),
                    "/api/version": shown(lambda: {"version": "0.30.0"}),
                    "/api/ps": shown(lambda: pages.ollama_ps(*sorted(self.resident))),
                }
            case "llama-swap":
                return {"/running": shown(self._swapped)}
            case "tensorrt-llm":
                return {"/metrics": self._drained, "/prometheus/metrics": shown(self._figures)}
            case "vllm":
                return {"/version": shown(lambda: {"version": "0.11.0"})}
            case "tgi":
                return {"/info": shown(lambda: {"model_id": self.models[0], "version": "3.3.6"})}
        return {}

    def _shown(self, make: Callable[[], Any], *, use: bool = False) -> Any:
        async def answer(_: web.Request) -> web.Response:
            if use:
                self._use(self.models[0])
            found = make()
            return web.Response(text=found) if isinstance(found, str) else web.json_response(found)

        return answer

    def _models(self) -> dict[str, Any]:
        return pages.models(self.kind, *self.models)

    def _props(self) -> dict[str, Any]:
        return pages.props(asleep=self.asleep, metrics=self.metrics, slots=self.slots)

    def _figures(self) -> str:
        self._settle()
        running, waiting = self.running, self.waiting
        steps, tokens, prompt = math.floor(self._steps), math.floor(self._tokens), self._prompts
        match self.kind:
            case "llama.cpp":
                return pages.llama(running, waiting, tokens, prompt, self.prompt + tokens, steps)
            case "sglang":
                return pages.sglang(running, waiting, steps, tokens, prompt)
            case "tgi":
                return pages.tgi(running, waiting, steps, tokens, prompt)
            case "tensorrt-llm":
                return pages.tensorrt_llm(running, waiting, tokens, prompt)
        level = "weights_offloaded" if self.asleep else ""
        return pages.vllm(running, waiting, tokens, prompt, steps) + pages.vllm_asleep(level)

    def _slots(self) -> list[dict[str, Any]]:
        self._settle()
        decoded = math.floor(self._tokens / max(1, self.running)) if self._generating else 0
        return pages.slots(*[decoded] * self.running, prompt=self.prompt)

    def _router_models(self) -> dict[str, Any]:
        def state(name: str) -> str:
            if name not in self.resident:
                return "unloaded"
            return "loading" if self.loading else "sleeping" if self.asleep else "loaded"

        return pages.models("llama.cpp", *self.models, states=tuple(map(state, self.models)))

    def _swapped(self) -> dict[str, Any]:
        state = "starting" if self.loading else "ready"
        return pages.llama_swap_running(**dict.fromkeys(sorted(self.resident), state))

    async def _drained(self, _: web.Request) -> web.Response:
        self.drains += 1
        return web.json_response([{"numActiveRequests": self.running}])

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        if self.lost_gpu:
            error = {"message": "CUDA error: no CUDA-capable device is detected", "type": "server_error"}
            return web.json_response({"error": error}, status=500)
        self._use(str(document.get("model") or self.models[0]))
        if self.running and not self._moving:
            await asyncio.Event().wait()
        count = int(document.get("max_tokens") or 1)
        self._settle()
        self._steps += count
        self._tokens += count
        self._prompts += 10
        usage = {"prompt_tokens": 10, "completion_tokens": count}
        if not document.get("stream"):
            choice = {"index": 0, "message": {"content": "tok " * count}, "finish_reason": "length"}
            return web.json_response({"choices": [choice], "usage": usage})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(count):
            piece = {"choices": [{"index": 0, "delta": {"content": "tok "}, "finish_reason": None}]}
            await response.write(f"data: {json.dumps(piece)}\n\n".encode())
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": usage}
        await response.write(f"data: {json.dumps(end)}\n\ndata: [DONE]\n\n".encode())
        return response

    def _use(self, model: str) -> None:
        """Count a use; it wakes what sleeps, and what is not in memory takes the place of another."""
        self.uses += 1
        if self.asleep:
            self.asleep = False
            self.wakes += 1
        if model not in self.resident:
            self.loads += 1
            self.evictions += len(self.resident)
            self.resident = {model}

    def _settle(self) -> None:
        """Bring the counters up to now."""
        now = self._monotonic()
        elapsed, self._since = now - self._since, now
        if self._moving and self.running:
            self._steps += elapsed * self._rate
            if self._generating:
                self._tokens += elapsed * self._rate * self.running
