"""Pages as engines show them: cut down, but line for line as they write them.

The sources of the names are those of the module of the same engine in ``aiidpd/engines/``.
"""

from __future__ import annotations

from typing import Any


def vllm(
    running: int = 2, waiting: int = 1, generated: float = 1500.0, prompt: float = 300.0, steps: int = 30
) -> str:
    """A vLLM with one engine; ``iteration_tokens_total`` is a histogram: its count moves with each step."""
    labels = '{engine="0",model_name="org/model \\"q\\", v1"}'
    return f"""\
# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{{generation="0"}} 9961.0
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{labels} {running}.0
# HELP vllm:num_requests_waiting Number of requests waiting to be processed.
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{labels} {waiting}.0
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{labels} {prompt}
# HELP vllm:prompt_tokens_created Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_created gauge
vllm:prompt_tokens_created{labels} 1.7533e+09
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{labels} {generated}
# HELP vllm:iteration_tokens_total Histogram of number of tokens per engine_step.
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_bucket{{engine="0",le="1.0",model_name="m"}} 30.0
vllm:iteration_tokens_total_count{labels} {steps}.0
# HELP vllm:request_success_total Count of successfully processed requests.
# TYPE vllm:request_success_total counter
vllm:request_success_total{{engine="0",finished_reason="stop",model_name="m"}} 40.0
vllm:request_success_total{{engine="0",finished_reason="length",model_name="m"}} 10.0
vllm:request_success_total{{engine="0",finished_reason="abort",model_name="m"}} 0.0
"""


def llama(  # noqa: PLR0917 -- in the order of the page
    running: int = 1,
    waiting: int = 0,
    generated: int = 640,
    prompt: int = 120,
    longest: int = 200,
    steps: int = 71,
) -> str:
    """A llama-server; ``n_tokens_max`` calls itself a counter without that ending."""
    return f"""\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total {prompt}
# HELP llamacpp:tokens_predicted_total Number of generation tokens processed
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total {generated}
# HELP llamacpp:tokens_predicted_seconds_total Total time spent generating tokens
# TYPE llamacpp:tokens_predicted_seconds_total counter
llamacpp:tokens_predicted_seconds_total 19.3755
# HELP llamacpp:n_decode_total Total number of llama_decode() calls
# TYPE llamacpp:n_decode_total counter
llamacpp:n_decode_total {steps}
# HELP llamacpp:n_tokens_max Largest observed sequence length (prompt + generation)
# TYPE llamacpp:n_tokens_max counter
llamacpp:n_tokens_max {longest}
# HELP llamacpp:requests_processing Number of requests processing
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing {running}
# HELP llamacpp:requests_deferred Number of requests deferred
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred {waiting}
"""


def vllm_asleep(level: str = "weights_offloaded") -> str:
    """Lines that vLLM of a version with a sleep state adds; ``level`` empty: it is awake."""
    states = {"awake": int(not level), "weights_offloaded": 0, "discard_all": 0} | (
        {level: 1} if level else {}
    )
    lines = [
        f'vllm:engine_sleep_state{{engine="0",model_name="m",sleep_state="{state}"}} {value}.0'
        for state, value in states.items()
    ]
    return "\n".join(["# TYPE vllm:engine_sleep_state gauge", *lines, ""])


def sglang(
    running: int = 2, waiting: int = 1, passes: int = 70, generated: int = 900, prompt: int = 80
) -> str:
    """An SGLang started with ``--enable-metrics``; its tokens are counted when a request ends."""
    labels = '{model_name="m",engine_type="unified",tp_rank="0",pp_rank="0"}'
    return f"""\
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{labels} {running}.0
# TYPE sglang:num_queue_reqs gauge
sglang:num_queue_reqs{labels} {waiting}.0
# TYPE sglang:cuda_graph_passes_total counter
sglang:cuda_graph_passes_total{{mode="decode_cuda_graph",model_name="m",tp_rank="0"}} {passes}.0
sglang:cuda_graph_passes_total{{mode="decode_none",model_name="m",tp_rank="0"}} 3.0
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{{model_name="m"}} {prompt}.0
# TYPE sglang:generation_tokens_total counter
sglang:generation_tokens_total{{model_name="m"}} {generated}.0
"""


def tgi(running: int = 2, waiting: int = 1, steps: int = 70, generated: int = 900, prompt: int = 80) -> str:
    """A TGI; its tokens are sums of histograms, which move when a request ends."""
    return f"""\
# TYPE tgi_batch_current_size gauge
tgi_batch_current_size {running}
# TYPE tgi_queue_size gauge
tgi_queue_size {waiting}
# TYPE tgi_batch_inference_count counter
tgi_batch_inference_count{{method="prefill"}} 3
tgi_batch_inference_count{{method="decode"}} {steps}
# TYPE tgi_request_generated_tokens histogram
tgi_request_generated_tokens_bucket{{le="+Inf"}} 4
tgi_request_generated_tokens_sum {generated}
tgi_request_generated_tokens_count 4
# TYPE tgi_request_input_length histogram
tgi_request_input_length_sum {prompt}
tgi_request_input_length_count 4
"""


def tensorrt_llm(running: int = 2, waiting: int = 1, generated: int = 900, prompt: int = 80) -> str:
    """A trtllm-serve at /prometheus/metrics; no figure of it moves at each step."""
    labels = '{model_name="m",engine_type="trtllm"}'
    return f"""\
# TYPE trtllm_num_requests_running gauge
trtllm_num_requests_running{labels} {running}.0
# TYPE trtllm_num_requests_waiting gauge
trtllm_num_requests_waiting{labels} {waiting}.0
# TYPE trtllm_prompt_tokens_total counter
trtllm_prompt_tokens_total{labels} {prompt}.0
# TYPE trtllm_generation_tokens_total counter
trtllm_generation_tokens_total{labels} {generated}.0
"""


def models(engine: str, *names: str, states: tuple[str, ...] = ()) -> dict[str, Any]:
    """GET /v1/models as ``engine`` answers it; ``states`` are those that a router of llama.cpp adds."""
    owner = {"llama.cpp": "llamacpp", "tensorrt-llm": "tensorrt_llm", "ollama": "library"}.get(engine, engine)
    data: list[dict[str, Any]] = [
        {
            "id": name,
            "object": "model",
            "created": 1_790_000_000,
            "owned_by": name if engine == "tgi" else owner,
        }
        for name in names
    ]
    for entry, state in zip(data, states, strict=False):
        entry["status"] = {"value": state, "args": ["llama-server", "--api-key", "SECRET"]}
    return {"object": "list", "data": data}


def props(
    *, asleep: bool = False, metrics: bool = True, slots: bool = True, build: str = "b11434-c3e6c38"
) -> dict[str, Any]:
    """GET /props of a llama-server with a model."""
    return {
        "default_generation_settings": {"n_ctx": 8192, "params": {}},
        "total_slots": 1,
        "model_alias": "tiny",
        "model_path": "/models/tiny.gguf",
        "endpoint_slots": slots,
        "endpoint_props": False,
        "endpoint_metrics": metrics,
        "chat_template": "{{ messages }}" * 100,
        "build_info": build,
        "is_sleeping": asleep,
    }


def router_props() -> dict[str, Any]:
    """GET /props of a llama-server that was started without a model."""
    return {
        "role": "router",
        "max_instances": 4,
        "models_autoload": True,
        "model_alias": "llama-server",
        "model_path": "none",
        "build_info": "b11434-c3e6c38",
    }


def slots(*decoded: int, prompt: int = 200, task: int = 7) -> list[dict[str, Any]]:
    """GET /slots: one that works for each of ``decoded`` (tokens generated so far), and one that is idle."""
    busy = [
        {
            "id": place,
            "n_ctx": 8192,
            "speculative": False,
            "is_processing": True,
            "id_task": task + place,
            "n_prompt_tokens": prompt + count,
            "n_prompt_tokens_processed": prompt,
            "n_prompt_tokens_cache": 0,
            "next_token": [
                {"has_next_token": True, "has_new_line": False, "n_remain": -1, "n_decoded": count}
            ],
        }
        for place, count in enumerate(decoded)
    ]
    return [*busy, {"id": len(decoded), "n_ctx": 8192, "speculative": False, "is_processing": False}]


def ollama_ps(*loaded: str, size: int = 5_000_000_000, vram: int | None = None) -> dict[str, Any]:
    """GET /api/ps with ``loaded`` models, each of ``size`` bytes, ``vram`` of them in the GPU's memory."""
    return {
        "models": [
            {
                "name": name,
                "model": name,
                "size": size,
                "digest": "0" * 64,
                "details": {"format": "gguf", "family": "llama"},
                "expires_at": "2026-11-28T12:05:00Z",
                "size_vram": size if vram is None else vram,
                "context_length": 4096,
            }
            for name in loaded
        ]
    }


def llama_swap_running(**states: str) -> dict[str, Any]:
    """GET /running of a llama-swap: those that are not stopped, with their state."""
    return {
        "running": [
            {
                "model": name,
                "state": state,
                "cmd": "llama-server --api-key SECRET",
                "proxy": "http://localhost:5800",
            }
            for name, state in states.items()
        ]
    }
