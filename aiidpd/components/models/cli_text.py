"""Models as text for people."""

from __future__ import annotations

import time
from collections.abc import Iterator

from aiidpd.cli.text import UNKNOWN, Document, Paint, counted, cut, plain, since, size, table

_NONE = "no model was found; `aiidpctl models usage` shows the folders that were searched"
_MOST_SIGNED = 5  # models in a line
_LONGEST_NAME = 26  # characters of a name in a table
_LARGE = ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K"))


def model_table(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of models, and lines for what is wrong."""
    rows = [
        (
            cut(plain(each["label"]), _LONGEST_NAME),
            amount(each["parameters"]),
            cut(plain(each["quantization"] or UNKNOWN), 8),
            size(each["size_bytes"]),
            _used(each, now),
            each["backup"] if each["backup"] != "unknown" else UNKNOWN,
            _state(each),
        )
        for each in document["models"]
    ]
    if not rows:
        return [paint.dim(_NONE)] if document["read_at"] is not None else []
    head = ("MODEL", "PARAMS", "QUANT", "SIZE", "USED", "SAVED", "")
    lines = table(head, rows, paint, right="lrlr")
    for each in document["models"]:
        if each["problems"]:
            first = each["problems"][0]
            lines.append(paint.warn(plain(f"{each['label']}: {first['path']}: {first['reason']}")))
        if each["signature"]["wrong"]:
            lines.append(paint.warn(plain(f"{each['label']}: {_signature(each['signature'], now)}")))
    lines += [paint.dim(line) for line in _signed(document)]
    return lines + [paint.warn(line) for line in _leftovers(document, now)]


def model_details(document: Document, now: float, paint: Paint) -> list[str]:
    """Return all that is known of each model of one name, a line a fact."""
    lines: list[str] = []
    for each in document["models"]:
        lines += ([""] if lines else []) + _one(each, now, paint)
    return lines


def _one(details: Document, now: float, paint: Paint) -> list[str]:
    model = details["model"]
    types = ", ".join(f"{each['name']} {size(each['bytes'])}" for each in details["types"][:6])
    active = model["active_parameters"]
    some = active is not None and active != model["parameters"]
    facts = [
        ("lies in", f"{model['root']} ({model['layout']}, disk {model['disk'] or UNKNOWN})"),
        ("repository", model["repository"] or UNKNOWN),
        ("revision", f"{model['revision'] or UNKNOWN}{_bracketed(', '.join(model['refs']))}"),
        ("upstream", _upstream(model, now)),
        ("format", model["format"] or UNKNOWN),
        ("architecture", model["architecture"] or UNKNOWN),
        ("parameters", amount(model["parameters"]) + (f", {amount(active)} active" if some else "")),
        ("quantization", model["quantization"] or UNKNOWN),
        ("context", UNKNOWN if model["context_length"] is None else f"{model['context_length']} tokens"),
        ("tensors", f"{size(model['tensor_bytes'])}{_bracketed(types)}"),
        ("size", f"{size(model['size_bytes'])} in {counted(model['file_count'], 'file')}"),
        ("hash known of", f"{size(model['proven_bytes'])}, read whole {since(model['read_at'], now)}"),
        ("signature", _signature(model["signature"], now)),
        *_claims(model["signature"]),
        ("backed up", _backup(model, now)),
        *((" " if place else "used by", _use(each)) for place, each in enumerate(model["uses"])),
        ("last used", _last(model, now)),
        *(("problem", f"{each['path']}: {each['reason']}") for each in model["problems"]),
    ]
    wide = max(len(name) for name, _ in facts)
    head = paint.bold(plain(model["label"]))
    lines = [head, *(cut(plain(f"  {name.ljust(wide)}  {text}"), paint.width) for name, text in facts)]
    rows = [
        (
            cut(plain(", ".join(each["names"])), 40),
            size(each["size_bytes"]),
            (each["sha256"] or each["proof"].rpartition(":")[2])[:12] or UNKNOWN,
            "DAMAGED" if each["damaged"] else since(each["read_at"], now),
        )
        for each in details["files"]
    ]
    return lines + [
        f"  {line}" for line in table(("FILE", "SIZE", "HASH", "READ"), rows, _inner(paint), right="lr")
    ]


def usage_lines(document: Document, now: float, paint: Paint) -> list[str]:
    """Return what uses the models, the folders and the disks."""
    rows = [
        (
            cut(plain(each["label"]), _LONGEST_NAME),
            size(each["size_bytes"]),
            since(each["last_used_at"], now),
            "; ".join(_use(use) for use in each["uses"]) or UNKNOWN,
        )
        for each in sorted(document["models"], key=lambda each: -each["size_bytes"])
    ]
    lines = table(("MODEL", "SIZE", "LAST USED", "USED BY"), rows, paint, right="lr") if rows else []
    if document["open_reason"]:
        lines.append(paint.dim(plain(f"not all is known: {document['open_reason']}")))
    folders = [
        (
            plain(each["path"]),
            str(each["models"]),
            size(each["size_bytes"]),
            plain(each["disk"] or UNKNOWN),
            plain(each["reason"]) or ("" if each["configured"] else "found here"),
        )
        for each in document["folders"]
    ]
    if folders:
        lines += ["", *table(("FOLDER", "MODELS", "SIZE", "DISK", ""), folders, paint, right="lrr")]
    disks = [
        (
            plain(each["mount"]),
            size(each["total_bytes"]),
            size(each["free_bytes"]),
            _growth(each["growth_bytes_per_day"]),
            day(each["full_at"]) if each["full_at"] is not None else plain(each["reason"]),
        )
        for each in document["disks"]
    ]
    if disks:
        lines += ["", *table(("DISK", "SIZE", "FREE", "GROWS A DAY", "FULL ON"), disks, paint, right="lrrr")]
    return lines


def duplicate_lines(document: Document, paint: Paint) -> list[str]:
    """Return the files that are there more than once, and what could be reclaimed."""
    lines: list[str] = []
    for each in document["duplicates"]:
        word = "the same" if each["certain"] else "probably the same"
        times = len(each["copies"])
        head = f"{size(each['reclaimable_bytes'])} could go: {times} times {size(each['size_bytes'])}, {word}"
        lines.append(paint.bold(plain(head)))
        for copy in each["copies"]:
            lines.append(plain(f"  {copy['path']}"))
            lines.append(paint.dim(plain(f"    of {', '.join(copy['models'])}")))
    if lines:
        lines.append(f"{size(document['reclaimable_bytes'])} could be reclaimed")
    elif document["read_at"] is not None:
        lines.append("nothing of 1 MiB or more is there twice")
    return lines


def upstream_table(document: Document, name: str, now: float, paint: Paint) -> list[str]:
    """Return how the models called ``name``, or all, compare with the hub."""
    rows = [
        (
            cut(plain(each["label"]), _LONGEST_NAME),
            each["revision"][:8],
            each["upstream"] if each["upstream"] != "unknown" else "not known",
            each["upstream_commit"][:8] or UNKNOWN,
            since(each["upstream_at"], now),
            plain(each["upstream_reason"]),
        )
        for each in document["models"]
        if each["upstream"] != "none" and name in ("", each["label"], each["name"])
    ]
    head = ("MODEL", "HERE", "IS", "NEWEST", "ASKED", "")
    return table(head, rows, paint) if rows else ["no model here came from the hub, as far as its files say"]


def verified_lines(result: Document, paint: Paint) -> list[str]:
    """Return what came of reading models whole: files by what their content proved to be."""
    kinds = (
        ("right", "right", "they are as their hashes say"),
        ("damaged", "DAMAGED", "they are not as their hashes say"),
        ("skipped", "skipped", "they could not be read, or changed meanwhile"),
        ("without_proof", "no proof", "nothing says what they should be; from now on this content does"),
    )
    rows = [(name, str(result[key]), text) for key, name, text in kinds if result[key]] or [
        ("-", "0", "there are no files")
    ]
    lines = [*table(("CONTENT", "FILES", ""), rows, paint, right=" r"), f"{size(result['bytes'])} were read"]
    if "signature" in result:
        lines.append(plain(result["signature"]))
    prefix = "signatures_"
    counts = [
        f"{count} {key.removeprefix(prefix).replace('_', ' ')}"
        for key, count in result.items()
        if key.startswith(prefix)
    ]
    return [*lines, f"signatures: {', '.join(counts)}"] if counts else lines


def amount(count: float | None) -> str:
    """Return a number of parameters: ``8.19B``, ``751M``."""
    if count is None:
        return UNKNOWN
    for step, unit in _LARGE:
        if count >= step:
            return f"{count / step:.3g}{unit}"
    return str(count)


def day(at: float) -> str:
    """Return the local date of ``at`` (Unix seconds)."""
    return time.strftime("%Y-%m-%d", time.localtime(at))


def _inner(paint: Paint) -> Paint:
    return Paint(paint.colour, paint.width - 2 if paint.width else 0)


def _state(model: Document) -> str:
    words = []
    if model["problems"]:
        words.append("DAMAGED")
    if model["signature"]["wrong"]:
        words.append("UNSIGNED" if model["signature"]["state"] == "none" else "SIGNATURE")
    if model["upstream"] == "newer":
        words.append("NEWER")
    return ", ".join(words)


def _signature(signature: Document, now: float) -> str:
    """Return the state of a signature, with what it rests on."""
    state: str = signature["state"]
    by = f" by {signature['signer']}" if signature["signer"] else ""
    at = f", checked {since(signature['checked_at'], now)}" if signature["checked_at"] is not None else ""
    required = ", and models.signers wants one" if signature["required"] else ""
    texts: dict[str, str] = {
        "none": f"not signed{required}",
        "unverified": "signed, not verified",
        "valid": f"valid{by}{at}",
        "invalid": f"INVALID{by}{at}",
        "not_trusted": f"signed by nobody who is trusted{required}{at}",
        "not_checked": f"signed, can't be verified here{at}",
    }
    text = texts.get(state, state)
    return f"{text}: {signature['reason']}" if signature["reason"] else text


def _claims(signature: Document) -> Iterator[tuple[str, str]]:
    """Yield what a signature states of itself."""
    if signature["path"]:
        yield "", f"{signature['path']}{_bracketed(signature['method'])}"
    if signature["key_hint"]:
        yield "", f"it claims the key {signature['key_hint'][:16]}"
    if signature["claimed_identity"] or signature["claimed_issuer"]:
        who, whose = signature["claimed_identity"] or UNKNOWN, signature["claimed_issuer"] or UNKNOWN
        yield "", f"it claims to be of {who}, by {whose}"


def _signed(document: Document) -> Iterator[str]:
    """Yield a line for each state of signatures that is no fault, with the models that are in it."""
    words = (
        ("valid", "signed"),
        ("unverified", "signed, not verified"),
        ("not_trusted", "signed by nobody who is trusted"),
        ("not_checked", "signed, can't be verified here"),
    )
    for state, word in words:
        found = [
            cut(plain(each["label"]), _LONGEST_NAME)
            for each in document["models"]
            if each["signature"]["state"] == state and not each["signature"]["wrong"]
        ]
        if found:
            more = f" and {len(found) - _MOST_SIGNED} more" if len(found) > _MOST_SIGNED else ""
            yield f"{word}: {', '.join(found[:_MOST_SIGNED])}{more}"


def _used(model: Document, now: float) -> str:
    kinds = {each["kind"] for each in model["uses"]}
    for kind, word in (("loaded", "loaded"), ("open", "open"), ("named", "named"), ("mounted", "mounted")):
        if kind in kinds:
            return word
    return since(model["last_used_at"], now)


def _use(use: Document) -> str:
    where = f"container {use['container']}" if use["container"] else ""
    engine = f"engine {use['engine']}" if use["engine"] else ""
    process = f"{use['program'] or 'process'} ({use['pid']})" if use["pid"] is not None else ""
    return f"{use['kind']} by {' in '.join(filter(None, (engine or process, where)))}"


def _backup(model: Document, now: float) -> str:
    text: str = model["backup"]
    if model["backed_up_at"] is not None:
        text += f", as it was {since(model['backed_up_at'], now)}"
    return text + _bracketed(model["backup_reason"])


def _upstream(model: Document, now: float) -> str:
    if model["upstream"] == "none":
        return "it did not come from the hub, as far as its files say"
    text = {"current": "this is the newest", "newer": f"newer: {model['upstream_commit']}"}.get(
        model["upstream"], "not known"
    )
    asked = f", asked {since(model['upstream_at'], now)}" if model["upstream_at"] is not None else ""
    return f"{text}{asked}{_bracketed(model['upstream_reason'])}"


def _last(model: Document, now: float) -> str:
    if model["last_used_at"] is None:
        return UNKNOWN
    return f"{since(model['last_used_at'], now)} by {model['last_used_by']}"


def _bracketed(text: str) -> str:
    return f" ({text})" if text else ""


def _growth(rate: float | None) -> str:
    if rate is None:
        return UNKNOWN
    return f"{'-' if rate < 0 else ''}{size(abs(rate))}"


def _leftovers(document: Document, now: float) -> Iterator[str]:
    if document["leftovers"]:
        total = sum(each["size_bytes"] for each in document["leftovers"])
        oldest = min(each["changed_at"] for each in document["leftovers"])
        count = counted(len(document["leftovers"]), "file")
        yield f"{count} of downloads that have not ended: {size(total)}, the oldest of {since(oldest, now)}"
