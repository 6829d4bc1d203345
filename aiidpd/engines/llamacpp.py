"""llama.cpp's llama-server, alone and as a router (pure).

Sources, in ggml-org/llama.cpp at build 11434: routes and the router's condition (no model given) in
``tools/server/server.cpp``; /props with ``is_sleeping``, ``endpoint_metrics`` and ``endpoint_slots``, the
slots' ``n_decoded`` and ``n_prompt_tokens``, the 503 while it loads in ``tools/server/server-context.cpp``
and ``server-http.cpp``; the figures in ``server-task.cpp``, where ``n_decode_total`` moves with each
batch, of a prompt too, and ``tokens_predicted_total`` when a request ends; the idle clock in
``server-queue.cpp``; the states of a router's models in ``server-models.h``; options in
``common/arg.cpp``, where ``--sleep-idle-seconds`` has no variable.

/health, /props and /models count as no use, whatever it does. /slots does and wakes; /metrics does so in
older builds, and both wait for the batch that is decoded. So one that may sleep, or of which that is
not known, is sent requests for /props alone. A router hands /metrics and /slots to a model and would load
it: of it are requested /props and /models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from aiidpd.contracts.engines import Residency
from aiidpd.engines.figures import EngineFigures, EngineReading, Names, NotKnown, Series, figures_of
from aiidpd.engines.profile import (
    UNAVAILABLE,
    EngineProfile,
    Facts,
    Kind,
    Memory,
    Option,
    PageRequest,
    Poll,
    Reply,
    Start,
    Version,
    as_count,
    as_list,
    as_mapping,
)
from aiidpd.engines.serving import loading, may_sleep, started

NAME: Final = "llama.cpp"
PROPS: Final = "/props"
MODELS: Final = "/models"
MAY_SLEEP: Final = "its model may go to sleep, and reading its figures could keep it awake or wake it"
UNKNOWN_START: Final = (
    "it is not known how it was started, so that its model may go to sleep: if it can't, set "
    'may_sleep = "no" for it in [[engines.servers]]'
)
NO_PAGES: Final = "it shows no figures: start llama-server with --metrics"
ROUTER: Final = "it is a router, and a request for figures could load a model"
_PAGE_AGE: Final = 60.0  # seconds for which /props of one that can't sleep is believed
_SLOTS_AGE: Final = 0.9  # seconds; polls are at least one apart
_MOST_SLOTS: Final = 1024
_IDLE: Final = Option(("--sleep-idle-seconds",))
_MODEL: Final = Option(("-m", "--model"), ("LLAMA_ARG_MODEL",))
_DOWNLOADED: Final = Option(
    ("-hf", "-hfr", "--hf-repo", "-dr", "--docker-repo", "-mu", "--model-url"),
    ("LLAMA_ARG_HF_REPO", "LLAMA_ARG_DOCKER_REPO", "LLAMA_ARG_MODEL_URL"),
)
_STATES: Final[Mapping[Any, Residency]] = MappingProxyType(
    {
        "loaded": Residency.LOADED,
        "loading": Residency.LOADING,
        "sleeping": Residency.SLEEPING,
        "downloading": Residency.LOADING,
        "downloaded": Residency.UNLOADED,
        "unloaded": Residency.UNLOADED,
    }
)
_ORDER: Final = (Residency.LOADED, Residency.LOADING, Residency.SLEEPING, Residency.UNLOADED)
NAMES: Final = Names(
    running=Series("llamacpp:requests_processing"),
    waiting=Series("llamacpp:requests_deferred"),
    generated=Series("llamacpp:tokens_predicted_total"),
    prompt=Series("llamacpp:prompt_tokens_total"),
    steps=Series("llamacpp:n_decode_total"),
    longest=Series("llamacpp:n_tokens_max"),
    counts_at_end=True,
)


def sleeps(start: Start) -> bool:
    """Return whether it sleeps when idle, or is a router."""
    idle = start.value(_IDLE)
    if idle is not None and idle.strip() != "-1":
        return True
    return start.value(_MODEL) is None and start.value(_DOWNLOADED) is None


def poll(facts: Facts, memory: Memory, now: float) -> Poll:
    """Request how it is, and its figures only where its model can't sleep."""
    props = memory.page if now - memory.page_at < _PAGE_AGE else None
    if props is None:
        reply = yield PageRequest(PROPS)
        props = as_mapping(reply.document)
        if not reply.good:
            return _silent(reply, facts, memory)
        memory = replace(memory, page=None, slept=memory.slept or props.get("is_sleeping") is True)
    if props.get("role") == "router":
        return (yield from _router(facts, memory))
    may = may_sleep(facts, memory, inferred=_may_sleep(facts, props))
    if props.get("is_sleeping") is True:
        asleep = NotKnown("its model is asleep", lasting=False)
        return EngineReading(asleep, NAME, Residency.SLEEPING, may_sleep=True), memory
    if may:
        unsure = facts.start is None and facts.may_sleep is None and not memory.slept
        reason = NotKnown(UNKNOWN_START if unsure else MAY_SLEEP, lasting=False)
        return EngineReading(reason, NAME, Residency.LOADED, may_sleep=True), memory
    if memory.page is None:
        memory = replace(memory, page=props, page_at=now)
    return (yield from _figures(props, memory, now))


def _may_sleep(facts: Facts, props: Mapping[str, Any]) -> bool:
    """Return whether it may sleep, by how it was started; what is not known counts as yes.

    Versions that can sleep say in /props whether they do.
    """
    return "is_sleeping" in props if facts.start is None else sleeps(started(facts))


def _silent(reply: Reply, facts: Facts, memory: Memory) -> tuple[EngineReading, Memory]:
    memory = replace(memory, page=None)
    inferred = facts.start is not None and sleeps(facts.start)
    may = may_sleep(facts, memory, inferred=inferred)
    if reply.status == UNAVAILABLE:
        return EngineReading(loading(reply), NAME, Residency.LOADING, may), memory
    return EngineReading(reply.not_known(), NAME, may_sleep=may, busy=reply.busy), memory


def _router(facts: Facts, memory: Memory) -> Poll:
    may = may_sleep(facts, memory, inferred=True)
    reply = yield PageRequest(MODELS)
    if not reply.good:
        return EngineReading(reply.not_known(), NAME, may_sleep=may, busy=reply.busy), memory
    found = {
        _STATES.get(as_mapping(each.get("status")).get("value"), Residency.UNKNOWN)
        for each in as_list(as_mapping(reply.document).get("data"))
        if not facts.model or _is(each, facts.model)
    }
    residency = next((each for each in _ORDER if each in found), Residency.UNKNOWN)
    return EngineReading(NotKnown(ROUTER, lasting=False), NAME, residency, may), memory


def _is(entry: Mapping[str, Any], model: str) -> bool:
    aliases = entry.get("aliases")
    return entry.get("id") == model or (isinstance(aliases, list) and model in aliases)


def _figures(props: Mapping[str, Any], memory: Memory, now: float) -> Poll:
    """Request /metrics, and while requests run /slots, one after the other.

    Where it is read again and again within a second, /metrics alone, since each waits for a batch.
    """
    fresh = now - memory.slots_at < _SLOTS_AGE
    figures: EngineFigures | None = None
    if props.get("endpoint_metrics", True):
        reply = yield PageRequest("/metrics", Kind.SAMPLES)
        if reply.good and reply.samples is not None and reply.samples.has_any(NAMES):
            figures = figures_of(NAME, NAMES, reply.samples)
        elif not reply.absent:
            return _failed(reply, memory)
    if props.get("endpoint_slots", True) and (figures is None or (figures.requests_running and not fresh)):
        memory = replace(memory, slots_at=now)
        reply = yield PageRequest("/slots")
        if reply.good and isinstance(reply.document, list):
            memory, found = _of_slots(reply.document, memory)
            if figures is None:
                figures = found
            else:
                figures = replace(figures, longest_prompt_tokens=found.longest_prompt_tokens)
        elif figures is None and not reply.absent:
            return _failed(reply, memory)
    if figures is None:
        return EngineReading(NotKnown(NO_PAGES, lasting=True), NAME, Residency.LOADED), memory
    return EngineReading(figures, NAME, Residency.LOADED), memory


def _failed(reply: Reply, memory: Memory) -> tuple[EngineReading, Memory]:
    residency = Residency.LOADING if reply.status == UNAVAILABLE else Residency.UNKNOWN
    reading = EngineReading(reply.not_known(), NAME, residency, busy=reply.busy)
    return reading, replace(memory, page=None)


def _of_slots(document: list[Any], memory: Memory) -> tuple[Memory, EngineFigures]:
    """Return the figures that slots have. Their steps are counted here, from poll to poll.

    ``n_prompt_tokens`` is the part of the sequence that is in memory: what was read of the prompt so far.
    """
    running = 0
    longest: int | None = None
    tasks: dict[tuple[int, int], int] = {}
    steps = memory.steps
    for slot in as_list(document)[:_MOST_SLOTS]:
        if slot.get("is_processing") is not True:
            continue
        running += 1
        decoded = max((as_count(each.get("n_decoded")) or 0 for each in _next_token(slot)), default=0)
        tokens = as_count(slot.get("n_prompt_tokens"))
        if tokens is not None:
            longest = max(longest or 0, tokens - decoded)
        key = (as_count(slot.get("id")) or 0, as_count(slot.get("id_task")) or 0)
        tasks[key] = decoded + (as_count(slot.get("n_prompt_tokens_processed")) or 0)
        steps += max(0, tasks[key] - memory.tasks.get(key, 0))
    memory = replace(memory, steps=steps, tasks=MappingProxyType(tasks))
    figures = EngineFigures(NAME, running, steps=steps, longest_prompt_tokens=longest)
    return memory, figures


def _next_token(slot: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is known of the next token; older versions have one object in the place of a list."""
    found = slot.get("next_token")
    return [found] if isinstance(found, dict) else as_list(found)


PROFILE: Final = EngineProfile(
    NAME,
    images=(r"(.*/)?(ggml-org|ggerganov)/llama\.cpp", r"(.*/)?llama\.cpp", r"(.*/)?llama-server"),
    programs=("llama-server",),
    port=8080,
    poll=poll,
    owner="llamacpp",
    ports=Option(("--port",), ("LLAMA_ARG_PORT",)),
    prefix=Option(("--api-prefix",), ("LLAMA_ARG_API_PREFIX",)),
    model=Option(("-a", "--alias"), ("LLAMA_ARG_ALIAS",)),
    key=Option(("--api-key",), ("LLAMA_API_KEY",)),
    any_model="default",
    version=Version(PROPS, "build_info"),
    names=NAMES,
    sleeps=sleeps,
    start_decides=True,
)
