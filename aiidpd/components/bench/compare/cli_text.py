"""Comparisons as text for people, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from aiidpd.cli.text import SIMULATED, Document, Paint, cut, moment, number, plain, since, span, table

_WIDE = 78


def comparison_lines(document: Document, paint: Paint) -> list[str]:
    """Return one comparison: both sides, each figure with its interval, the words, the answers."""
    lines = [_side("A", document["a"]), _side("B", document["b"])]
    if document["simulated"]:
        lines.append(paint.warn(SIMULATED))
    rows = [
        (
            each["label"],
            span(each["a_median"]),
            span(each["b_median"]),
            number(each["ratio"], digits=3),
            _interval(each),
        )
        for each in document["figures"]
    ]
    lines += ["", *table(("FIGURE", "A", "B", "B/A", "95 % INTERVAL"), rows, paint, right="lrrrl"), ""]
    for each in document["figures"]:
        lines += _wrapped(f"{each['label']}: {each['text']}")
    if document["kind"] == "endpoints":
        lines += _wrapped(f"answers: {document['answers']['text']}")
        lines += _differences(document["answers"]["prompts"])
        pairs = f"{len(document['pairs'])} of at most {document['most_pairs']} pairs"
        lines += ["", *_wrapped(f"{pairs}, {document['max_tokens']} tokens each; {document['reason']}")]
    for note in document["notes"]:
        lines += [paint.dim(line) for line in _wrapped(note)]
    return lines


def comparison_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the list of comparisons."""
    rows = [
        (
            each["id"],
            each["a"],
            each["b"],
            str(each["pairs"]),
            since(each["began_at"], now),
            f"{SIMULATED if each['simulated'] else ''} {each['text']}".strip(),
        )
        for each in document["comparisons"]
    ]
    return table(("COMPARISON", "A", "B", "PAIRS", "BEGAN", ""), rows, paint, right="lllr") if rows else []


def _side(letter: str, side: Document) -> str:
    if side["since"] is not None:
        return plain(f"{letter}  {side['name']}  {moment(side['since'])} to {moment(side['until'])}")
    return plain(f"{letter}  {side['name']}  {side['model']}  {side['url']}")


def _interval(figure: Document) -> str:
    if figure["ratio"] is None:
        return "-"
    return f"{figure['ratio_low']:.3f} to {figure['ratio_high']:.3f}"


def _differences(prompts: list[Document]) -> Iterator[str]:
    for each in prompts:
        if each["same"] is False:
            token = "" if each["token"] is None else f" (token {each['token']})"
            place = f"from character {each['character']}{token} on"
            for line in (f"{place}: {each['prompt']}", f"  A  {each['a']}", f"  B  {each['b']}"):
                yield cut(f"  {plain(line)}", _WIDE)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(plain(text), _WIDE, subsequent_indent="  ", drop_whitespace=True)
