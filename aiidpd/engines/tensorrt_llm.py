"""TensorRT-LLM's own server, trtllm-serve (pure).

Sources, in NVIDIA/TensorRT-LLM: figures in ``tensorrt_llm/metrics/collector.py``; that they are at
/prometheus/metrics in the documentation of trtllm-serve. The tokens of a request are counted when it ends.
The requests need ``enable_iter_perf_stats``, the tokens ``return_perf_metrics``. /metrics there is a queue
of JSON that a read takes away from whoever else reads it, and /health_generate generates: neither is ever
requested. No figure of it is known to move with each step. It has no sleep that a page shows.
"""

from __future__ import annotations

from typing import Final

from aiidpd.engines.figures import Names, Series
from aiidpd.engines.profile import EngineProfile, Facts, Memory, Option, Poll
from aiidpd.engines.serving import poll_serving

NAME: Final = "tensorrt-llm"
NAMES: Final = Names(
    running=Series("trtllm_num_requests_running"),
    waiting=Series("trtllm_num_requests_waiting"),
    generated=Series("trtllm_generation_tokens_total"),
    prompt=Series("trtllm_prompt_tokens_total"),
    counts_at_end=True,
)


def poll(facts: Facts, memory: Memory, now: float) -> Poll:
    """Request its figures."""
    hint = "; set return_perf_metrics and enable_iter_perf_stats for trtllm-serve"
    return poll_serving(NAME, NAMES, facts, memory, now, figures="/prometheus/metrics", hint=hint)


PROFILE: Final = EngineProfile(
    NAME,
    images=(),  # its image serves nothing by itself
    programs=("trtllm-serve",),
    port=8000,
    poll=poll,
    owner="tensorrt_llm",
    ports=Option(("--port",)),
    names=NAMES,
)
