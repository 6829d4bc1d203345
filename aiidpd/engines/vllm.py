"""vLLM (pure).

Sources, in vllm-project/vllm: figures and ``engine_sleep_state`` in ``vllm/v1/metrics/loggers.py``, where
``iteration_tokens_total`` is a histogram that is observed at each step of the engine and
``request_success`` has a label for each reason of an end; the page in
``vllm/entrypoints/serve/instrumentator/metrics.py``, which is made of a registry in the server's process,
so that reading it reaches no engine and wakes nothing; sleep and wake-up, by requests alone and
never by idleness, in ``vllm/entrypoints/serve/sleep/api_router.py``; ``owned_by`` in
``vllm/entrypoints/openai/protocol.py``; the counters of drafts in ``vllm/v1/spec_decode/metrics.py``;
/version in ``vllm/entrypoints/openai/api_server.py``. It listens once its model is loaded. Its page has no
length of a running request's prompt.
"""

from __future__ import annotations

from typing import Final

from aiidpd.engines.figures import Names, Series
from aiidpd.engines.profile import EngineProfile, Facts, Memory, Option, Poll, Start, Version
from aiidpd.engines.serving import poll_serving, started

NAME: Final = "vllm"
_SLEEP_MODE: Final = Option(("--enable-sleep-mode", "--enable_sleep_mode"))
NAMES: Final = Names(
    running=Series("vllm:num_requests_running"),
    waiting=Series("vllm:num_requests_waiting"),
    generated=Series("vllm:generation_tokens_total"),
    prompt=Series("vllm:prompt_tokens_total"),
    steps=Series("vllm:iteration_tokens_total_count"),
    awake=Series("vllm:engine_sleep_state", (("sleep_state", "awake"),)),
    finished=Series("vllm:request_success_total"),
    cut=Series("vllm:request_success_total", (("finished_reason", "length"),)),
    drafted=Series("vllm:spec_decode_num_draft_tokens_total"),
    accepted=Series("vllm:spec_decode_num_accepted_tokens_total"),
)


def sleeps(start: Start) -> bool:
    """Return whether its sleep mode is switched on."""
    return start.given(_SLEEP_MODE)


def poll(facts: Facts, memory: Memory, now: float) -> Poll:
    """Request its figures, which no request waits for."""
    asleep = sleeps(started(facts))
    return poll_serving(NAME, NAMES, facts, memory, now, sleeps=asleep)


PROFILE: Final = EngineProfile(
    NAME,
    images=(r"(.*/)?vllm/vllm-openai(-\w+)?", r"(.*/)?vllm-openai"),
    programs=("vllm", "vllm.entrypoints.openai.api_server"),
    port=8000,
    poll=poll,
    owner="vllm",
    ports=Option(("--port",)),
    prefix=Option(("--root-path",)),
    model=Option(("--served-model-name", "--model")),
    key=Option(("--api-key",), ("VLLM_API_KEY",)),
    version=Version("/version", "version"),
    names=NAMES,
    sleeps=sleeps,
)
