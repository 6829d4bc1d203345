"""SGLang (pure).

Sources, in sgl-project/sglang: figures in ``python/sglang/srt/observability/metrics_collector.py``
(before: ``srt/metrics/collector.py``), where the tokens of a request are counted when it ends and
``cuda_graph_passes_total`` at each forward pass of a decode; the page, which ``--enable-metrics`` switches
on, in ``python/sglang/srt/entrypoints/http_server.py``. There /health_generate, and in later versions
/health, generate a token: neither is ever requested. Versions without ``cuda_graph_passes_total`` have no
figure that moves with each step. Its memory can be taken away (``--enable-memory-saver``), which no page
shows: such a one counts as one that may sleep.
"""

from __future__ import annotations

from typing import Final

from aiidpd.engines.figures import Names, Series
from aiidpd.engines.profile import EngineProfile, Facts, Memory, Option, Poll, Start
from aiidpd.engines.serving import poll_serving, started

NAME: Final = "sglang"
_MEMORY_SAVER: Final = Option(("--enable-memory-saver",))
NAMES: Final = Names(
    running=Series("sglang:num_running_reqs"),
    waiting=Series("sglang:num_queue_reqs"),
    generated=Series("sglang:generation_tokens_total"),
    prompt=Series("sglang:prompt_tokens_total"),
    steps=Series("sglang:cuda_graph_passes_total"),
    counts_at_end=True,
)


def sleeps(start: Start) -> bool:
    """Return whether its memory can be released."""
    return start.given(_MEMORY_SAVER)


def poll(facts: Facts, memory: Memory, now: float) -> Poll:
    """Request its figures, which its processes write and no request waits for."""
    hint = "; start SGLang with --enable-metrics"
    asleep = sleeps(started(facts))
    return poll_serving(NAME, NAMES, facts, memory, now, sleeps=asleep, hint=hint)


PROFILE: Final = EngineProfile(
    NAME,
    images=(r"(.*/)?lmsysorg/sglang",),
    programs=("sglang.launch_server", "sglang"),
    port=30000,
    poll=poll,
    owner="sglang",
    ports=Option(("--port",)),
    model=Option(("--served-model-name", "--model-path", "--model")),
    key=Option(("--api-key",)),
    names=NAMES,
    sleeps=sleeps,
)
