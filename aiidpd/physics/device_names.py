"""Names of devices as people and drivers write them: their words, and names that are near (pure)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Final

# fmt: off
_NOISE: Final = frozenset((
    "nvidia", "geforce", "rtx", "gtx", "tesla", "quadro", "amd", "radeon", "rx", "instinct", "apple", "intel",
    "arc", "graphics", "gpu", "mac", "studio", "mini", "macbook", "imac", "air", "generation", "edition",
    "core", "cores", "cu", "desktop", "rocm", "vulkan", "cuda", "metal", "oc", "the",
))
_ALIASES: Final = {"mobile": "laptop", "hbm3": "sxm5", "hbm2": "", "hbm2e": "", "spark": "gb10"}
_SOCKETS: Final = ("sxm2", "sxm4", "sxm5")
_TELLING: Final = frozenset((
    "ti", "super", "max", "ultra", "pro", "laptop", "xt", "xtx", "gre", "d", "sxm", *_SOCKETS,
    "pcie", "nvl", "ada", "blackwell", "x",
))
# fmt: on
"""Words that make another device of one: a name that has one is no device without it."""
_TOKEN: Final = re.compile(r"[a-z]+\d+[a-z]*|\d+[a-z]*|[a-z]+", re.ASCII)
SIZE: Final = re.compile(r"(\d+)\s*gi?b\b", re.ASCII)
"""Memory in a name, in lower case."""
_CORES: Final = re.compile(r"(\d+)\s*[-\u2010\u2011]?\s*(?:cores?|cu)\b")
_GLUED: Final = re.compile(r"\b(?:rtx|gtx|rx|arc)(?=\d)|\b\d{4}(?=(?:ti|super|xtx?|gre|d)\b)", re.ASCII)
_ALIKE: Final = 0.75  # share of a word that must be the same for a slip of the pen
_LONGEST: Final = 100  # characters of a name that are read
_LEAST: Final = 1.0  # score of a name that is near
_SPREAD: Final = 1.5  # by which a name may be farther than the nearest


def words(name: str) -> frozenset[str]:
    """Return the words of ``name`` that say which device it is, without vendors, sizes and counts."""
    lower = _plain(name).replace("macbook pro", "")
    lower = _GLUED.sub(r"\g<0> ", _CORES.sub(" ", SIZE.sub(" ", lower)))
    tokens = (_ALIASES.get(token, token) for token in _TOKEN.findall(lower))
    return frozenset(token for token in tokens if token) - _NOISE


def readings(name: str) -> Iterator[frozenset[str]]:
    """Yield what ``name`` may say: a socket without its number may be each of them."""
    given = words(name)
    if "sxm" not in given:
        yield given
        return
    for socket in _SOCKETS:
        yield given - {"sxm"} | {socket}


def makes_another(rest: frozenset[str]) -> bool:
    """Return whether words that a device has not make another of it, a slip of the pen included."""
    return any(word in _TELLING or any(_alike(word, other) for other in _TELLING) for word in rest)


def size_of(name: str) -> int | None:
    """Return the GiB of memory that ``name`` states."""
    found = SIZE.search(_plain(name))
    return int(found[1][:6]) if found else None


def cores_of(name: str) -> int | None:
    """Return the cores that ``name`` states."""
    found = _CORES.search(_plain(name))
    return int(found[1][:6]) if found else None


def near(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Return those of ``known`` that ``name`` may mean, the likeliest first; none if nothing is like it."""
    by = {other: _score(name, other) for other in known}
    best = max(by.values(), default=0.0)
    least = max(_LEAST, best - _SPREAD)
    found = (each for each in by if by[each] >= least)
    return tuple(sorted(found, key=lambda each: (-by[each], len(each), each)))


def _score(name: str, other: str) -> float:
    """Return how near ``other`` is: a model's number counts most, then words of its kind, then series."""
    given, own = words(name), words(other)
    number = max((_same(a, b) for a in _numbers(given) for b in _numbers(own)), default=0.0)
    if number == 0 and _numbers(given):
        return 0.0
    kind = len(given & own & _TELLING) - 0.5 * len((given ^ own) & _TELLING)
    plain = 2.0 * len((given & own) - _TELLING - _numbers(given))
    series = (0.5 if given else 2.0) * len(_series(name) & _series(other))
    return number + plain + kind + series if number or plain or not given else 0.0


def _same(given: str, own: str) -> float:
    """Return how far two words with a number are the same."""
    if given == own:
        return 4.0
    if own.startswith(given) or given.startswith(own):
        shorter = min(len(given), len(own))
        return 3.0 if shorter > 2 else 0.0  # noqa: PLR2004 -- "a1" is no beginning of "a100"
    shaped = [each.isdigit() for each in given] == [each.isdigit() for each in own]
    return 1.5 if shaped and sorted(given) == sorted(own) else 1.0 if shaped and _alike(given, own) else 0.0


def _numbers(of: frozenset[str]) -> frozenset[str]:
    return frozenset(each for each in of if any(letter.isdigit() for letter in each)) - _TELLING


def _series(name: str) -> frozenset[str]:
    return frozenset(_TOKEN.findall(_GLUED.sub(r"\g<0> ", _plain(name)))) & _NOISE


def _alike(word: str, other: str) -> bool:
    longest = max(len(word), len(other))
    return (
        min(len(word), len(other)) > 1
        and longest <= 2 * min(len(word), len(other))
        and (SequenceMatcher(None, word, other, autojunk=False).ratio() >= _ALIKE)
    )


def _plain(name: str) -> str:
    return name[:_LONGEST].lower().replace("_", " ").replace("(r)", " ").replace("(tm)", " ")
