"""How an engine is recognised and was started, by images, command lines and variables of any kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiidpd.engines import llamacpp, ollama, tgi, vllm
from aiidpd.engines.all import ENGINES, profile_named
from aiidpd.engines.profile import Option, Reply, Start, as_count, as_list, as_mapping, image_path, port_of

PORT = Option(("--port", "-p"), ("PORT",))
DIGEST = "@sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("image", "arguments", "engine"),
    [
        ("vllm/vllm-openai:v0.11.0", ["--model", "m"], "vllm"),
        ("docker.io/vllm/vllm-openai", [], "vllm"),
        ("registry.lan:5000/mirror/vllm/vllm-openai:latest" + DIGEST, [], "vllm"),
        ("ghcr.io/ggml-org/llama.cpp:server-cuda", [], "llama.cpp"),
        ("my/image", ["/app/llama-server", "-m", "x.gguf"], "llama.cpp"),
        ("my/image", ["sh", "-c", "exec llama-server -m x.gguf --port 9"], "llama.cpp"),
        ("python:3", ["python3", "-m", "vllm.entrypoints.openai.api_server"], "vllm"),
        ("python:3", ["vllm", "serve", "m"], "vllm"),
        ("lmsysorg/sglang:latest", ["python3", "-m", "sglang.launch_server"], "sglang"),
        ("ghcr.io/huggingface/text-generation-inference:3.3.6", [], "tgi"),
        ("ollama/ollama:latest", ["serve"], "ollama"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.0", ["trtllm-serve", "m"], "tensorrt-llm"),
        ("nvcr.io/nvidia/tensorrt-llm/release:1.2.0", ["bash"], None),
        ("ghcr.io/mostlygeek/llama-swap:cuda", [], "llama-swap"),
        ("postgres:16", ["postgres"], None),
        ("alpine", ["cp", "-r", "a", "b", "c", "d", "e", "f", "/x/vllm"], None),
    ],
)
def test_an_engine_is_recognised_by_its_image_or_its_program(
    image: str, arguments: list[str], engine: str | None
) -> None:
    start = Start(tuple(arguments))
    found = [each.name for each in ENGINES if each.matches(image, start)]
    assert found == ([engine] if engine else [])


@pytest.mark.parametrize(
    ("arguments", "environment", "value"),
    [
        (["--port", "9"], {}, "9"),
        (["--port=9"], {"PORT": "8"}, "9"),
        (["--port", "9", "-p", "7"], {}, "7"),
        (["--port"], {}, None),
        ([], {"PORT": "8"}, "8"),
        (["sh", "-c", "run --port '9'"], {}, "9"),
        (["sh", "-c", "run --port '9"], {}, "'9"),
        (["--ports", "9"], {}, None),
    ],
)
def test_the_value_of_an_option(arguments: list[str], environment: dict[str, str], value: str | None) -> None:
    assert Start(tuple(arguments), environment).value(PORT) == value


def test_where_it_listens() -> None:
    assert vllm.PROFILE.listens_at(Start()) == 8000
    assert vllm.PROFILE.listens_at(Start(("--port", "8123"))) == 8123
    assert vllm.PROFILE.listens_at(Start(("--port", "99999"))) is None
    assert vllm.PROFILE.listens_at(Start(("--port", "\u0663"))) is None
    assert tgi.PROFILE.listens_at(Start((), {"PORT": "3000"})) == 3000
    assert ollama.PROFILE.listens_at(Start((), {"OLLAMA_HOST": "0.0.0.0:11500"})) == 11500
    assert ollama.PROFILE.listens_at(Start((), {"OLLAMA_HOST": "http://[::]:11500/"})) == 11500
    assert ollama.PROFILE.listens_at(Start((), {"OLLAMA_HOST": "0.0.0.0"})) == 11434
    swap = profile_named("llama-swap")
    assert swap is not None
    assert swap.listens_at(Start(("-listen", ":9292"))) == 9292
    assert llamacpp.PROFILE.base_path(Start((), {"LLAMA_ARG_API_PREFIX": "/llm/"})) == "/llm"
    assert llamacpp.PROFILE.base_path(Start(("--api-prefix", "/a b?c"))) == ""


@pytest.mark.parametrize(
    ("arguments", "environment", "sleeps"),
    [
        (["-m", "x.gguf"], {}, False),
        (["-m", "x.gguf", "--sleep-idle-seconds", "300"], {}, True),
        (["-m", "x.gguf", "--sleep-idle-seconds=300"], {}, True),
        (["-m", "x.gguf", "--sleep-idle-seconds", "-1"], {}, False),
        (["-m", "x.gguf", "--sleep-idle-seconds", "nonsense"], {}, True),
        (["-hf", "org/model"], {}, False),
        ([], {"LLAMA_ARG_MODEL": "x.gguf"}, False),
        (["--models-dir", "/models"], {}, True),
        ([], {}, True),
    ],
)
def test_which_llama_server_may_sleep(
    arguments: list[str], environment: dict[str, str], sleeps: bool
) -> None:
    assert llamacpp.sleeps(Start(("llama-server", *arguments), environment)) is sleeps


def test_which_of_the_others_may() -> None:
    assert vllm.sleeps(Start(("vllm", "serve", "m", "--enable-sleep-mode")))
    assert not vllm.sleeps(Start(("vllm", "serve", "m")))
    assert ollama.PROFILE.sleeps(Start())
    assert not tgi.PROFILE.sleeps(Start())


texts = st.text(max_size=30)


@given(st.lists(st.one_of(texts, st.sampled_from(["--port", "-p", "--port=", "-c"])), max_size=8), texts)
def test_no_command_line_is_too_strange(arguments: list[str], image: str) -> None:
    start = Start(tuple(arguments), {"PORT": image, "OLLAMA_HOST": image})
    for profile in ENGINES:
        profile.matches(image, start)
        profile.sleeps(start)
        port = profile.listens_at(start)
        assert port is None or 0 < port < 65536
        assert start.value(profile.key) is None or isinstance(start.value(profile.key), str)
    assert len(image_path(image)) <= len(image)
    assert "SECRET" not in repr(Start(("--api-key", "SECRET"), {"K": "SECRET"}))


@given(st.one_of(texts, st.integers().map(str)))
def test_a_port_is_a_port(text: str) -> None:
    port = port_of(text)
    assert port is None or (0 < port < 65536 and int(text) == port)


def test_what_is_no_object_is_an_empty_one() -> None:
    assert as_mapping([1]) == {}
    assert as_list({"a": 1}) == []
    assert as_list([1, {"a": 1}]) == [{"a": 1}]
    assert as_count(True) is None
    assert as_count(-1) is None
    assert as_count(1.5) is None
    assert as_count(2**64) is None
    assert as_count(7) == 7


@pytest.mark.parametrize(
    ("reply", "good", "absent", "busy"),
    [
        (Reply(200), True, False, False),
        (Reply(200, malformed=True), False, True, False),
        (Reply(0), False, False, False),
        (Reply(404), False, True, False),
        (Reply(503), False, False, True),
        (Reply(429), False, False, True),
        (Reply(500), False, False, False),
        (Reply(302), False, True, False),
    ],
)
def test_what_a_status_means(reply: Reply, good: bool, absent: bool, busy: bool) -> None:
    assert (reply.good, reply.absent, reply.busy) == (good, absent, busy)
