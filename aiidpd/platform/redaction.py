"""Redaction of secrets in what is stored or shown of a foreign program (pure).

A secret is known by its name (``HF_TOKEN=...``, ``--api-key ...``, ``Authorization: ...``) or by its shape
(``hf_...``, a JWT, a private key). What was found by its name in a container's environment and arguments is
replaced wherever it occurs in its log. Every pattern takes time in proportion to the text, whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

REDACTED: Final = "[redacted]"

_STEM_TEXTS: Final = (
    *("key", "token", "secret", "password", "passwd", "passphrase", "passcode", "pwd", "credential", "auth"),
    *("bearer", "cookie"),
)
_STEMS: Final = re.compile("|".join(_STEM_TEXTS), re.IGNORECASE)
_INNOCENT: Final = re.compile(
    r"TOKENI[SZ]\w*|DETOKENI[SZ]\w*|AUTHOR(?!I)S?|KEYBOARD|MONKEY|KEYERROR|KEYFRAME|^PWD$|^OLDPWD$",
    re.IGNORECASE,
)
_COUNTS: Final = re.compile(r"TOKENS?", re.IGNORECASE)
_ELSEWHERE: Final = re.compile(r"(FILE|PATH|DIR|DIRECTORY)S?$", re.IGNORECASE)
_NUMBER: Final = re.compile(r"[+-]?[0-9][0-9.,]{0,15}%?")
_NOTHING: Final = frozenset(
    {"", "none", "null", "nil", "true", "false", "yes", "no", "on", "off", "auto", "*"}
)

# In running text the name must end in one of these: a sentence has many keys and tokens.
_NAMED: Final = re.compile(
    r"(?:api_?key|access_?key|private_?key|secret_?key|signing_?key|account_?key|[_.-]key|[a-z]Key"
    r"|(?<![a-z])key_?id|token|tokens|secrets?|password|passwd|passphrase|passcode|[_-]pwd|credentials?"
    r"|[_-]auth|authorization|cookies?)$",
    re.IGNORECASE,
)
_WEAK: Final = re.compile(r"(?<![A-Za-z])(?:key|keys|auth|pass|pwd|bearer)$", re.IGNORECASE)
_LONGEST_NAME: Final = 128  # characters before the sign of an assignment
_NAME_CHARACTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-"
_NAME_END: Final = re.compile(r"[A-Za-z0-9_.\-]+")
_OPERATOR: Final = re.compile(r"(?:=>|:=|[=:])[ \t]{0,3}")
_VALUE: Final = re.compile(r"\\?\"[^\"\r\n]*\"?|'[^'\r\n]*'?|\[[^\]\r\n]*\]?|\([^)\r\n]*\)?|[^\s,;&\"')\]}]+")
_LINE_VALUE: Final = re.compile(r"[^\"'\r\n]+")
_SHORT_VALUE: Final = re.compile(r"[\"']?[^\s,;&\"')\]}]{16,256}")
_WHOLE_LINE: Final = re.compile(r"(?:authorization|cookie)s?$", re.IGNORECASE)
_OPTION: Final = re.compile(r"(?<![A-Za-z0-9_\-])(--?[A-Za-z][\w.-]{0,63})(?:[ \t]+|['\"], ?['\"])(?=[^\s-])")
_SHORT_OPTIONS: Final = frozenset({"-hft"})  # llama.cpp's --hf-token
_SPOKEN: Final = re.compile(
    r"\b(?:key|token|secret|password|passphrase|credential|bearer|basic)s?[ \t]{1,3}(?:is[ \t]{1,3})?"
    r"([A-Za-z0-9+/_=~.-]{16,})",
    re.IGNORECASE,
)
_RANDOM: Final = re.compile(r"[A-Za-z0-9+/_=~.\-]{16,}")

_SHAPES: Final = re.compile(
    r"hf_[A-Za-z0-9]{16,}|api_org_[A-Za-z0-9]{16,}"  # Hugging Face
    r"|(?<![A-Za-z0-9])sk-[A-Za-z0-9_\-]{12,}"  # OpenAI, Anthropic, LiteLLM
    r"|gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_\-]{16,}"
    r"|xox[abeprs]-[A-Za-z0-9\-]{10,}|nvapi-[A-Za-z0-9_\-]{16,}|(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{4,}(?:\.[A-Za-z0-9_\-]*)?"  # JWT
)
_HINTS: Final = tuple(  # in one line they are read at a glance
    "hf_ api_org_ sk- ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox nvapi- AKIA ASIA eyJ".split()  # noqa: SIM905
)
"""Texts of which one is in every such shape: to find that out costs less than the pattern."""
_USER: Final = re.compile(r"://[^\s/@\"'<>]{1,512}@")
_PEM_BEGIN: Final = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINES: Final = 400  # lines that the longest private key has
_SHORTEST: Final = 4  # characters; shorter values are words of every log
_WHOLE_WORD: Final = 8  # characters; shorter values are replaced only where they stand alone
_DEEPEST: Final = 32  # levels of a document


def is_secret(name: str, value: str) -> bool:
    """Return whether ``value`` is a secret by the ``name`` of its variable, option or label."""
    bare = _INNOCENT.sub("", name)
    found = {stem.upper() for stem in _STEMS.findall(bare)}
    if name in _SHORT_OPTIONS:
        return True
    if not found or value.strip().lower() in _NOTHING:
        return False
    if _ELSEWHERE.search(name) and value.startswith(("/", "./", "~")):
        return False  # it says where the secret is
    return not (found == {"TOKEN"} and _NUMBER.fullmatch(value))


class Redactor:
    """Replaces secrets by ``[redacted]``: those ``known`` wherever they occur, others by name and shape."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        texts: set[str] = set()
        for value in known:
            for form in (
                value,
                value.strip(),
                quote(value, safe=""),
                value.encode("unicode_escape").decode(),
            ):
                if len(form) >= _SHORTEST and form.lower() not in _NOTHING and form != REDACTED:
                    texts.add(form)
        ordered = sorted(texts, key=lambda text: (-len(text), text))
        self._known = re.compile("|".join(map(_literal, ordered))) if ordered else None

    @classmethod
    def of(cls, environment: Mapping[str, str], arguments: Sequence[str]) -> Redactor:
        """Return one that knows the secrets in the ``environment`` and ``arguments`` of a container."""
        known = [value for name, value in environment.items() if is_secret(name, value)]
        known += [arguments[place][start:] for place, start in _secret_places(arguments)]
        return cls(known)

    def text(self, text: str) -> str:
        """Return ``text`` without secrets."""
        begin = _PEM_BEGIN.search(text)
        if begin is not None:
            end = _PEM_END.search(text, begin.end())
            rest = "" if end is None else self.text(text[end.end() :])
            return f"{self.text(text[: begin.start()])}{REDACTED}{rest}"
        if self._known is not None:
            text = self._known.sub(REDACTED, text)
        if "://" in text:
            text = _USER.sub(f"://{REDACTED}@", text)
        if any(hint in text for hint in _HINTS):
            text = _SHAPES.sub(REDACTED, text)
        lower = text.lower()
        return _by_name(text) if any(stem in lower for stem in _STEM_TEXTS) else text

    def lines(self, lines: Iterable[str]) -> Iterator[str]:
        """Yield ``lines`` without secrets: a private key may reach over many."""
        inside = 0
        for line in lines:
            if inside:
                end = _PEM_END.search(line)
                inside = 0 if end else inside - 1
                yield REDACTED if end is None else REDACTED + self.text(line[end.end() :])
                continue
            begin = None
            for begin in _PEM_BEGIN.finditer(line):  # noqa: B007 -- the last one counts
                pass
            if begin is not None and _PEM_END.search(line, begin.end()) is None:
                inside = _PEM_LINES
            yield self.text(line)

    def environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        """Return ``environment``, or labels, without the values that are secrets."""
        return {
            name: REDACTED if is_secret(name, value) else self.text(value)
            for name, value in environment.items()
        }

    def arguments(self, arguments: Sequence[str]) -> tuple[str, ...]:
        """Return the ``arguments`` of a command without those that are secrets."""
        places = dict(_secret_places(arguments))
        return tuple(
            f"{each[: places[place]]}{REDACTED}" if place in places else self.text(each)
            for place, each in enumerate(arguments)
        )

    def document(self, value: Any, name: str = "", depth: int = 0) -> Any:
        """Return a JSON document without secrets; lists of ``NAME=value`` and of arguments are known as such.

        What lies deeper than 32 levels is left out.
        """
        if depth > _DEEPEST:
            return REDACTED
        if isinstance(value, Mapping):
            return {
                self.text(str(key)): self.document(each, str(key), depth + 1) for key, each in value.items()
            }
        if isinstance(value, list | tuple):
            return self._list(value, name, depth)
        if isinstance(value, str):
            return REDACTED if is_secret(name, value) else self.text(value)
        return value

    def _list(self, value: Sequence[Any], name: str, depth: int) -> list[Any]:
        if name == "Env":
            return [self._assignment(str(each)) for each in value]
        if all(isinstance(each, str) for each in value):
            return list(self.arguments(value))
        return [self.document(each, "", depth + 1) for each in value]

    def _assignment(self, entry: str) -> str:
        name, sign, value = entry.partition("=")
        return f"{name}{sign}{REDACTED if is_secret(name, value) else self.text(value)}"


def _literal(text: str) -> str:
    """Return the pattern of a known secret; a short one must stand alone."""
    pattern = re.escape(text)
    if len(text) >= _WHOLE_WORD:
        return pattern
    return f"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])"


def _secret_places(arguments: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Yield place and offset of each secret: ``--api-key=X``, ``--api-key X Y``, ``KEY=X``."""
    option = ""
    for place, each in enumerate(arguments):
        if each.startswith("-") and len(each) > 1:
            name, sign, value = each.partition("=")
            option = "" if sign else each
            if sign and is_secret(name, value):
                yield place, len(name) + 1
        elif option and is_secret(option, each):
            yield place, 0
        else:
            name, sign, value = each.partition("=")
            if sign and _NAME_END.fullmatch(name) and is_secret(name, value):
                yield place, len(name) + 1


def _by_name(text: str) -> str:
    """Return ``text`` without what stands behind the name of a secret."""
    spans: list[tuple[int, int]] = []
    end = 0
    for match in _OPERATOR.finditer(text):
        if match.start() < end:
            continue
        span = _assigned(text, _name_before(text, match.start()), match.end())
        if span is not None:
            spans.append(span)
            end = span[1]
    spans += [
        (match.end(), found.end())
        for match in _OPTION.finditer(text)
        if (found := _VALUE.match(text, match.end())) and is_secret(match[1], found[0])
    ]
    spans += [match.span(1) for match in _SPOKEN.finditer(text) if _random(match[1])]
    return _without(text, spans)


def _name_before(text: str, at: int) -> str:
    """Return the name that ends ``at``, or before a quotation mark and blanks there."""
    before = text[max(0, at - _LONGEST_NAME) : at].rstrip(" \t")
    if before.endswith(('"', "'")):
        before = before[:-1].rstrip("\\")
    return before[len(before.rstrip(_NAME_CHARACTERS)) :]


def _assigned(text: str, name: str, at: int) -> tuple[int, int] | None:
    """Return where the secret value of ``name`` stands that begins ``at``; None where it is none."""
    bare = _INNOCENT.sub("", name)
    weak = _NAMED.search(bare) is None
    if weak and not _WEAK.search(bare):
        return None
    named = _LINE_VALUE if _WHOLE_LINE.search(bare) else _VALUE
    pattern = _SHORT_VALUE if weak else named
    found = pattern.match(text, at)
    if found is None:
        return None
    value = found[0].strip("\\\"'[]() ")
    if not is_secret(name, value) or (weak and not _random(value)):
        return None
    return found.span()


def _random(value: str) -> bool:
    """Return whether ``value`` looks like no word: long, in base64 or hex, some of it digits."""
    return (
        _RANDOM.fullmatch(value) is not None
        and any(map(str.isdigit, value))
        and any(map(str.isalpha, value))
        and not value.startswith("/")
    )


def _without(text: str, spans: list[tuple[int, int]]) -> str:
    parts: list[str] = []
    at = 0
    for begin, end in sorted(spans):
        if begin >= at:
            parts += (text[at:begin], REDACTED)
        at = max(at, end)
    return "".join((*parts, text[at:]))
