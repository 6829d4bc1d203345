"""Texts of prompts: natural sentences and code, as long as they have to be, by draws (pure).

Random words would distort engines that guess tokens ahead; these have the grammar of prose.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

from aiidpd.components.bench.load.draws import Draws

WORDS_PER_TOKEN: Final = 0.75
"""English in today's vocabularies; of what a prompt really consists, the server counts."""
_TOKENS_PER_LINE: Final = 10  # of code such as ours

_WHO: Final = (
    "The harbour master", "A retired teacher", "The night nurse", "Her younger brother", "The new tenant",
    "An engineer from the valley", "The baker on the corner", "The surveyor", "A student of law",
    "The captain of the ferry", "The gardener", "A visitor from the north", "The clerk at the archive",
    "The electrician", "Our neighbour", "The conductor of the choir",
)  # fmt: skip
_DID: Final = (
    "explained", "repaired", "described", "measured", "forgot to mention", "sold", "painted", "catalogued",
    "had to replace", "wrote a long letter about", "compared", "found", "carried home", "argued about",
    "took a photograph of", "finally understood",
)  # fmt: skip
_WHAT: Final = (
    "the old pump", "a map of the river", "the report of the committee", "the wooden bridge",
    "three boxes of slides", "the timetable", "a recipe for rye bread", "the heating of the school",
    "the lease of the warehouse", "a clock that ran slow", "the list of passengers", "the northern wall",
    "an unpaid invoice", "the rules of the game", "a colony of bees", "the weather of that spring",
)  # fmt: skip
_WHERE: Final = (
    "near the station", "in the smaller of the two halls", "behind the town hall", "on the last train",
    "in a village by the lake", "under the roof", "at the edge of the forest", "in the reading room",
    "on the island", "beside the canal", "in the office upstairs", "at the market", "in the garden",
    "on the way to the coast", "in the cellar", "at the border",
)  # fmt: skip
_WHEN: Final = (
    "before the first snow", "after a meeting that nobody had prepared", "in the second week of March",
    "while the others were still asleep", "when the power had failed for an hour", "on a quiet Sunday",
    "long after the shops had closed", "during the strike", "as soon as the water fell",
    "in the year of the flood", "without being asked", "to everybody's surprise", "for the third time",
    "although it was nearly dark", "because the letter had arrived late", "with some help",
)  # fmt: skip
_THINGS: Final = (
    "order", "invoice", "sensor", "reading", "customer", "route", "ticket", "window", "batch", "record",
    "label", "queue", "report", "account", "device", "message",
)  # fmt: skip
_ACTS: Final = (
    "load", "merge", "filter", "count", "validate", "sort", "close", "split", "render", "store", "find",
    "update", "archive", "format", "check", "group",
)  # fmt: skip


def words_for(tokens: int) -> int:
    """Return of about how many words a text of so many tokens consists."""
    return max(1, round(tokens * WORDS_PER_TOKEN))


def prose(draws: Draws, tokens: int, *names: object) -> str:
    """Return sentences of about ``tokens`` tokens."""
    wanted, words = words_for(tokens), 0
    parts: list[str] = []
    for sentence in _sentences(draws, *names):
        parts.append(sentence)
        words += sentence.count(" ") + 1
        if words >= wanted:
            break
    text = " ".join(parts)
    return text if words == wanted else " ".join(text.split(" ")[:wanted])


def code(draws: Draws, tokens: int, *names: object) -> str:
    """Return Python of about ``tokens`` tokens, which ends amid a function."""
    lines: list[str] = ["from __future__ import annotations", "", "import logging", ""]
    wanted = max(len(lines) + 2, tokens // _TOKENS_PER_LINE)
    for number in itertools.count():
        if len(lines) >= wanted:
            break
        data = draws.data(*names, number)
        act, thing, other = (_ACTS[data[0] % 16], _THINGS[data[1] % 16], _THINGS[data[2] % 16])
        lines += [
            "",
            f"def {act}_{thing}s({thing}s: list[dict[str, str]], limit: int = {data[3]}) -> list[str]:",
            f'    """Return the {other} of each {thing}, at most ``limit``."""',
            "    found: list[str] = []",
            f"    for {thing} in {thing}s[:limit]:",
            f'        if {thing}.get("{other}") is None:',
            f'            logging.warning("%s has no {other}", {thing}.get("name"))',
            "            continue",
            f'        found.append({thing}["{other}"].strip())',
            "    return sorted(found)",
            "",
        ]
    return "\n".join(lines[:wanted]) + "\n"


def _sentences(draws: Draws, *names: object) -> Iterator[str]:
    for number in itertools.count():
        data = draws.data(*names, number)
        who, did, what, where, when = (
            choices[data[place] % len(choices)]
            for place, choices in enumerate((_WHO, _DID, _WHAT, _WHERE, _WHEN))
        )
        match data[5] % 4:
            case 0:
                yield f"{who} {did} {what} {where}."
            case 1:
                yield f"{who} {did} {what} {when}."
            case 2:
                yield f"{when[0].upper()}{when[1:]}, {who[0].lower()}{who[1:]} {did} {what}."
            case _:
                again = _WHAT[data[6] % 16]
                yield f"{who} {did} {what} {where}, {when}, and {again} as well."
