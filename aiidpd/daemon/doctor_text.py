"""Answer of ``aiidpd doctor``, written for a person or as a document."""

from __future__ import annotations

import json as json_module
import os
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aiidpd.cli.session import DONE, FAILED, paint_for
from aiidpd.cli.text import Paint, plain
from aiidpd.contracts.checks import Outcome
from aiidpd.daemon.doctor import Line, doctor, document, worst


def show(path: Path | None, environ: Mapping[str, str], *, json: bool) -> int:
    """Write what the checks find to standard output; return the exit code: 1 where one failed."""
    lines = doctor(path, environ)
    text = json_module.dumps(document(lines)) if json else "\n".join(written(lines, paint_for(sys.stdout)))
    sys.stdout.write(f"{text}\n")
    if not json:
        sys.stderr.write(f"aiidpd: {summary(lines)}\n")
    sys.stdout.flush()
    return FAILED if worst(lines) is Outcome.FAILED else DONE


def written(lines: Sequence[Line], paint: Paint) -> Iterator[str]:
    """Yield each line, and below it what mends it."""
    width = max((len(line.name) for line in lines), default=0)
    for line in lines:
        outcome = line.result.outcome
        head = f"{outcome.value:<8} {line.name:<{width}}  {plain(line.result.found)}"
        yield {Outcome.FAILED: paint.bad, Outcome.WARNING: paint.warn}.get(outcome, str)(head)
        if line.result.cure and outcome is not Outcome.OK:
            yield paint.dim(f"{'':<8} {'':<{width}}  -> {plain(line.result.cure)}")


def summary(lines: Sequence[Line]) -> str:
    """Return how many checks had each outcome, and as whom they were made."""
    counts = Counter(line.result.outcome for line in lines)
    words = ", ".join(f"{counts[each]} {each.value}" for each in Outcome)
    return f"{words}; as user {os.geteuid()}"
