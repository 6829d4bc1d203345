"""Upgrades under guard as text for people, within 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from aiidpd.cli.text import SIMULATED, Document, Paint, cut, moment, number, plain, since, span, table

_WIDE = 78
_LOG_LINES = 12


def plan_lines(document: Document, options: Mapping[str, Any]) -> list[str]:
    """Return what an upgrade would do, and by which limits it would go back."""
    lines = [
        *_pair("container", document["container"]),
        *_pair("image now", _image(document["old_image"])),
        *_pair("image new", _image(document["new_image"])),
    ]
    if not document["present"]:
        lines += _pair("", "not on this machine: it is pulled first")
    engine = f"{document['engine']}  {document['model']}  {document['url']}" if document["engine"] else "-"
    lines += _pair("engine", engine)
    if document["refusal"]:
        lines += ["", *_wrapped(f"it can't be tried: {document['refusal']}")]
        lines += _wrapped(document["remedy"]) if document["remedy"] else []
        return lines
    where = "beside it, and then in its place" if document["beside"] else "in its place"
    lines += _pair("method", f"by the runtime's API, {where}: {document['mode_reason']}")
    ready, settle = span(options.get("ready") or 600), span(options.get("settle") or 60)
    stops = (
        f"the container ends ({span(document['stop_grace'])} at most), the new one loads ({ready} at most)"
    )
    lines += _pair("stops", f"{stops}; going back takes as long as the old one loads")
    lines += _pair("waits", f"until nobody is served, {span(options.get('drain') or 300)} at most")
    slower, agree = options.get("slower"), options.get("agree")
    limits = [
        f"acceptance profile {options.get('profile') or 'default'}",
        f"no figure slower by more than {100 * (0.05 if slower is None else slower):.3g} %, surely",
        f"{100 * (0.5 if agree is None else agree):.3g} % of the answers the same",
        f"well for {settle}, no restart, no lack of memory",
    ]
    lines += ["", "it is kept if", *(f"  {each}" for each in limits), "and goes back in every other case"]
    for note in document["notes"]:
        lines += ["", *_wrapped(note)]
    return [*lines, "", "nothing was touched; with --apply it is done"]


def upgrade_lines(document: Document, paint: Paint) -> list[str]:
    """Return one upgrade: outcome, reasons, figures, answers, what differs, and the end of its log."""
    lines = [
        *_pair("upgrade", f"{document['id']}  {moment(document['began_at'])}"),
        *_pair("container", document["container"]),
        *_pair("old image", _image(document["old_image"])),
        *_pair("new image", _image(document["new_image"])),
        *_pair("outcome", f"{document['outcome']}: {document['reason']}"),
        *_pair("mode", f"{document['mode']} ({document['mode_reason']}); stage {document['stage']}"),
    ]
    if document["simulated"]:
        lines.append(paint.warn(SIMULATED))
    times = [
        f"{words} {span(document[key])}"
        for key, words in (("stopped_seconds", "nobody served for"), ("ready_seconds", "ready after"))
        if document[key] is not None
    ]
    lines += _pair("times", ", ".join(times)) if times else []
    for each in document["findings"]:
        unclear = "" if each["clear"] else "not clear: "
        lines += _wrapped(f"- {each['criterion']}: {unclear}{each['text']}")
        lines += [f"  {line}" for line in _wrapped(each["remedy"])] if each["remedy"] else []
    lines += list(_criteria(document["acceptance"], paint))
    if document["figures"]:
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
        lines += [
            "",
            *table(("FIGURE", "OLD", "NEW", "NEW/OLD", "95 % INTERVAL"), rows, paint, right="lrrrl"),
        ]
        lines += [
            "",
            *_wrapped(_how_measured(document)),
            *_wrapped(f"answers: {document['answers']['text']}"),
        ]
        lines += _differing(document["answers"]["prompts"])
    if document["differences"]:
        lines += [
            "",
            "described differently:",
            *(cut(f"  {plain(each)}", _WIDE) for each in document["differences"]),
        ]
    if document["outcome"] != "kept" and document["new_log"]:
        last = document["new_log"][-_LOG_LINES:]
        lines += ["", "end of the new one's log:", *(cut(f"  {plain(each)}", _WIDE) for each in last)]
    for note in document["notes"]:
        lines += [paint.dim(line) for line in _wrapped(note)]
    return lines


def upgrade_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the list of upgrades."""
    rows = [
        (
            each["id"],
            each["container"],
            each["new_image"],
            each["outcome"],
            since(each["began_at"], now),
            each["reason"],
        )
        for each in document["upgrades"]
    ]
    return table(("UPGRADE", "CONTAINER", "IMAGE", "OUTCOME", "BEGAN", ""), rows, paint) if rows else []


def _how_measured(document: Document) -> str:
    if document["compared"]:
        return f"{len(document['compared'])} pairs, both at once"
    rounds = 1 + max((each["round"] for each in document["measurements"]), default=0)
    turns = "one after the other" if rounds == 1 else f"in turn, {rounds} times"
    what = "what else changed between the two is in the figures too"
    return f"{len(document['measurements'])} measurements, {turns}: two periods, not pairs; {what}"


def _criteria(criteria: list[Document], paint: Paint) -> Iterator[str]:
    if criteria:
        rows = [(each["name"], each["outcome"], each["wanted"], each["reason"]) for each in criteria]
        yield ""
        yield from table(("CRITERION", "OUTCOME", "WANTED", ""), rows, paint)


def _image(image: Document) -> str:
    digest = image["digests"][0].partition("@")[2] if image["digests"] else ""
    parts = (image["reference"], image["id"][:19], f"({digest[:19]})" if digest else "")
    return "  ".join(each for each in parts if each) or "-"


def _interval(figure: Document) -> str:
    return "-" if figure["ratio"] is None else f"{figure['ratio_low']:.3f} to {figure['ratio_high']:.3f}"


def _differing(prompts: list[Document]) -> Iterator[str]:
    for each in prompts:
        if each["same"] is False:
            head = f"from character {each['character']} on: {each['prompt']}"
            for line in (head, f"  old  {each['a']}", f"  new  {each['b']}"):
                yield cut(f"  {plain(line)}", _WIDE)


def _pair(name: str, text: str) -> list[str]:
    return textwrap.wrap(plain(text), _WIDE, initial_indent=f"{name:<11}", subsequent_indent=" " * 11) or [
        name
    ]


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(plain(text), _WIDE, subsequent_indent="  ")
