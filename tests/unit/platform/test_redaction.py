"""No secret survives, and what is ordinary is left alone."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aiidpd.platform.redaction import REDACTED, Redactor, is_secret

LETTERS = string.ascii_letters + string.digits
NAMES = (
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "LLAMA_API_KEY",
    "VLLM_API_KEY",
    "OPENAI_API_KEY",
    "POSTGRES_PASSWORD",
    "AWS_SECRET_ACCESS_KEY",
    "SESSION_COOKIE",
    "REGISTRY_AUTH",
    "MQTT_PASSWD",
    "GOOGLE_CREDENTIALS",
    "mySecretValue",
)
# Long enough to be nothing that the text around it has by chance.
SECRETS = st.text(LETTERS + "-_.+/", min_size=12, max_size=60).filter(
    lambda text: any(map(str.isalpha, text)) and not text.startswith(("-", "/", "."))
)
SHAPES = st.one_of(
    st.text(LETTERS, min_size=34, max_size=34).map("hf_{}".format),
    st.text(LETTERS, min_size=20, max_size=48).map("sk-{}".format),
    st.text(LETTERS, min_size=20, max_size=48).map("sk-proj-{}".format),
    st.text(LETTERS, min_size=36, max_size=36).map("ghp_{}".format),
    st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=16).map("AKIA{}".format),
    st.tuples(*[st.text(LETTERS + "-_", min_size=12, max_size=60)] * 3).map("eyJ{0[0]}.{0[1]}.{0[2]}".format),
)
AROUND = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=40)
ORDINARY = (
    "/models/Qwen3-30B-A3B-Q4_K_M.gguf",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "ghcr.io/ggml-org/llama.cpp:server-cuda@sha256:4bf5122f344554c53bde2ebb8cd2b7e3d1600ad631c385a5d7cce23c77",
    "load_tensors:        CUDA0 model buffer size =  3946.35 MiB",
    "print_info: EOS token        = 151645 '<|im_end|>'",
    "INFO 07-17 00:07:07 [core.py:69] tokenizer='meta-llama/Llama-3.1-8B', max_num_batched_tokens=8192",
    "Avg prompt throughput: 12.3 tokens/s, Avg generation throughput: 45.6 tokens/s, Running: 1 reqs",
    'INFO: 172.17.0.1:48732 - "POST /v1/chat/completions HTTP/1.1" 200 OK',
    "KeyError: 'model.layers.0.self_attn.q_proj.weight'",
    "llama_model_loader: - kv  16: tokenizer.ggml.tokens arr[str,151936] = ...",
    "task 12 | prompt done, n_tokens = 512, progress = 1.000000",
    "slot get_availabl: id  0 | task -1 | selected slot by LCP similarity, sim_best = 0.910",
    "https://huggingface.co/Qwen/Qwen3-8B/resolve/main/config.json",
    "api_key=None, hf_token=None, ssl_keyfile=None, key_cache_dtype=auto",
    "using cached key/value blocks: 1.5 GiB; author: somebody",
    "disk-sk-local task-0123456789abcdef",
)


@pytest.mark.parametrize("text", ORDINARY)
def test_what_is_ordinary_is_left_alone(text: str) -> None:
    assert Redactor().text(text) == text


@given(name=st.sampled_from(NAMES), secret=SECRETS, before=AROUND, after=AROUND)
def test_a_secret_of_the_environment_is_nowhere_in_the_log(
    name: str, secret: str, before: str, after: str
) -> None:
    redactor = Redactor.of({name: secret}, [])
    assert redactor.environment({name: secret}) == {name: REDACTED}
    for shown in (secret, quote(secret, safe="")):
        assert secret not in redactor.text(f"{before}{shown}{after}")


@given(secret=SECRETS, more=SECRETS, text=AROUND)
def test_a_secret_of_the_arguments_is_nowhere(secret: str, more: str, text: str) -> None:
    for arguments in (
        ["vllm", "serve", "/m", "--api-key", secret, more, "--port", "8000"],
        ["llama-server", f"--api-key={secret}", "-hft", more, "-m", "/models/x.gguf"],
        ["sh", "-c", f"HF_TOKEN={secret} vllm serve --api-key {more} --port 80"],
    ):
        redactor = Redactor.of({}, arguments)
        shown = "\0".join(redactor.arguments(arguments))
        assert secret not in shown
        assert more not in shown
        if arguments[0] != "sh":
            assert secret not in redactor.text(text + secret + text)
            assert more not in redactor.text(text + more)


@given(shape=SHAPES, before=AROUND, after=st.text(" \"',;)", min_size=1, max_size=3))
def test_a_secret_is_known_by_its_shape(shape: str, before: str, after: str) -> None:
    assume(not before or not (before[-1].isalnum() or before[-1] in "-_"))
    assert shape not in Redactor().text(f"{before}{shape}{after}rest")


@given(
    name=st.sampled_from(("api_key", "HF_TOKEN", "password", "client_secret", "x-api-key", "vllm.apiKey")),
    form=st.sampled_from(
        (
            "{0}={1}",
            "{0}: {1}",
            '"{0}": "{1}"',
            "{0} = '{1}'",
            "{0}=['{1}']",
            '{{\\"{0}\\":\\"{1}\\"}}',
            "--{0} {1}",
        )
    ),
    secret=SECRETS,
    before=st.sampled_from(("", "args: ", "Namespace(model='m', ", "{", "export ")),
)
def test_what_stands_behind_the_name_of_a_secret_is_one(
    name: str, form: str, secret: str, before: str
) -> None:
    shown = Redactor().text(before + form.format(name, secret))
    assert secret not in shown
    assert REDACTED in shown
    assert name in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://user:pa55@host/v1", "GET https://[redacted]@host/v1"),
        ("clone https://tok3n@host/x", "clone https://[redacted]@host/x"),
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ("curl -H 'Authorization: Basic YTpi' http://x", "curl -H 'Authorization: [redacted]' http://x"),
        ("Set-Cookie: a=b; c=d", "Set-Cookie: [redacted]"),
        ("password=hunter2;x", "password=[redacted];x"),
        ("the api key is AbCd1234efgh5678ijkl", "the api key is [redacted]"),
        ("cache key: 9f86d081884c7d659a2feaa0c55ad015", "cache key: [redacted]"),
        ("argv: ['--api-key', 'foo', '--port', '1']", "argv: ['--api-key', '[redacted]', '--port', '1']"),
        ("max_tokens=128 prompt_tokens: 5", "max_tokens=128 prompt_tokens: 5"),
    ],
)
def test_forms_of_secrets_in_a_line(text: str, shown: str) -> None:
    assert Redactor().text(text) == shown
    assert Redactor().text(shown) == shown


def test_a_private_key_is_left_out_over_its_lines() -> None:
    lines = [
        "before",
        "x -----BEGIN RSA PRIVATE KEY-----",
        "MIIEow",
        "IBAAKC",
        "-----END RSA PRIVATE KEY----- y",
        "z",
    ]
    assert list(Redactor().lines(lines)) == [
        "before",
        "x [redacted]",
        REDACTED,
        REDACTED,
        "[redacted] y",
        "z",
    ]
    assert Redactor().text("\\n".join(lines[1:5])) == "x [redacted] y"


def test_a_key_that_never_ends_is_not_the_end_of_the_log() -> None:
    shown = list(Redactor().lines(["-----BEGIN PRIVATE KEY-----", *["MII"] * 500]))
    assert shown[1] == REDACTED
    assert shown[-1] == "MII"


def test_a_description_of_a_container_has_no_secret_in_it() -> None:
    described = {
        "Path": "vllm",
        "Args": ["serve", "/models/m", "--api-key", "0penSesame"],
        "Config": {
            "Env": ["HF_TOKEN=abcdef", "PATH=/usr/bin", "MAX_TOKENS=12", "URL=http://u:p@h/"],
            "Labels": {"com.example.token": "lab3l", "aiidpd.heal": "restart"},
            "Healthcheck": {"Test": ["CMD-SHELL", "curl -H 'X-Api-Key: 0penSesame' localhost"]},
        },
        "HostConfig": {"LogConfig": {"Config": {"splunk-token": "spl"}}, "Memory": 5, "Privileged": False},
    }
    shown = Redactor.of({"HF_TOKEN": "abcdef"}, described["Args"]).document(described)  # type: ignore[arg-type]
    assert not [each for each in ("0penSesame", "abcdef", "lab3l", "spl'", "u:p") if each in str(shown)]
    assert shown["Config"]["Env"][1:3] == ["PATH=/usr/bin", "MAX_TOKENS=12"]
    assert shown["Config"]["Labels"]["aiidpd.heal"] == "restart"
    assert shown["HostConfig"]["Memory"] == 5
    assert shown["Args"][:2] == ["serve", "/models/m"]


def test_a_name_says_what_a_secret_is() -> None:
    assert is_secret("PASSWORD", "123456")
    assert not is_secret("MAX_TOKENS", "8192")
    assert not is_secret("--api-key-file", "/run/secrets/key")
    assert is_secret("API_KEY_FILE", "not a path")
    assert not is_secret("TOKENIZER", "/models/t")
    assert not is_secret("AUTH", "false")
    assert not is_secret("HF_HUB_OFFLINE", "1")


def test_a_short_secret_is_replaced_where_it_stands_alone() -> None:
    redactor = Redactor.of({"PASSWORD": "admin"}, [])
    assert redactor.text("user admin of administrators") == "user [redacted] of administrators"
    assert Redactor.of({"PIN_PASSWORD": "1"}, []).text("1 of 11") == "1 of 11"


@given(text=st.text(max_size=200), known=st.lists(st.text(max_size=20), max_size=3))
def test_any_text_is_read_and_what_is_redacted_stays_so(text: str, known: list[str]) -> None:
    redactor = Redactor(known)
    assert "\n" in text or isinstance(redactor.text(text), str)
    list(redactor.lines(text.splitlines()))


def test_a_document_that_is_too_deep_is_cut() -> None:
    value: object = "x"
    for _ in range(100):
        value = {"a": value}
    assert REDACTED in str(Redactor().document(value))
