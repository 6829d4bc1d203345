"""Text Generation Inference of Hugging Face (pure).

Sources, in huggingface/text-generation-inference: ``tgi_batch_current_size`` and
``tgi_batch_inference_count``, which counts each prefill and each decode of a batch, in
``backends/v3/src/backend.rs``; ``tgi_queue_size`` in ``backends/v3/src/queue.rs``; the histograms of
tokens, recorded when a request ends, and the routes in ``router/src/server.rs``. There /health may
generate a token (``backends/v3/src/backend.rs``): it is never requested. Port and names of variables in
``launcher/src/main.rs``, the image's port 80 in ``Dockerfile``. It has no sleep, listens once its model is
loaded, and names the model itself as ``owned_by``.
"""

from __future__ import annotations

from typing import Final

from aiidpd.engines.figures import Names, Series
from aiidpd.engines.profile import EngineProfile, Facts, Memory, Option, Poll, Version
from aiidpd.engines.serving import poll_serving

NAME: Final = "tgi"
NAMES: Final = Names(
    running=Series("tgi_batch_current_size"),
    waiting=Series("tgi_queue_size"),
    generated=Series("tgi_request_generated_tokens_sum"),
    prompt=Series("tgi_request_input_length_sum"),
    steps=Series("tgi_batch_inference_count"),
    counts_at_end=True,
)


def poll(facts: Facts, memory: Memory, now: float) -> Poll:
    """Request its figures, which its router has."""
    return poll_serving(NAME, NAMES, facts, memory, now)


PROFILE: Final = EngineProfile(
    NAME,
    images=(r"(.*/)?huggingface/text-generation-inference",),
    programs=("text-generation-launcher", "text-generation-router", "tgi-entrypoint.sh"),
    port=80,
    poll=poll,
    ports=Option(("--port", "-p"), ("PORT",)),
    model=Option(("--model-id",), ("MODEL_ID",)),
    key=Option(("--api-key",), ("API_KEY",)),
    version=Version("/info", "version"),
    names=NAMES,
)
