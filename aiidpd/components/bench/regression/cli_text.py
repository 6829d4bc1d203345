"""Regressions as text for people."""

from __future__ import annotations

from aiidpd.cli.text import (
    SIMULATED,
    UNKNOWN,
    Document,
    Paint,
    cut,
    moment,
    number,
    plain,
    since,
    span,
    table,
)

TYPE_CHECKING = False  # without typing: what a command imports, it waits for
if TYPE_CHECKING:
    from collections.abc import Iterator

FIGURES = {"tokens": "output_tokens_per_second", "first-token": "ttft_seconds"}
"""Figures as the command line calls them."""
_NAMES = {figure: name for name, figure in FIGURES.items()}
_HEAD = ("ENDPOINT", "FIGURE", "STATE", "BASELINE", "NOISE", "NOW", "")


def regression_lines(document: Document, now: float, paint: Paint) -> list[str]:
    """Return the table of figures, and under it what is known of each shift."""
    rows, lines = [], []
    for endpoint in document["endpoints"]:
        note = SIMULATED if endpoint["simulated"] else ""
        if not endpoint["figures"]:
            rows.append((endpoint["endpoint"], UNKNOWN, "not probed", UNKNOWN, UNKNOWN, UNKNOWN, note))
        for figure in endpoint["figures"]:
            name = _NAMES.get(figure["figure"], figure["figure"])
            rows.append(
                (
                    endpoint["endpoint"],
                    name,
                    _status(figure),
                    _value(figure),
                    _percent(figure["noise_ratio"]),
                    _deviation(figure["level_ratio"]),
                    note,
                )
            )
            lines += [
                cut(plain(line), paint.width) for line in _shift(endpoint["endpoint"], name, figure, now)
            ]
    return (table(_HEAD, rows, paint, right="lllrrrl") if rows else []) + lines


def _status(figure: Document) -> str:
    if figure["status"] == "learning":
        return f"learning {figure['samples']}/{figure['samples_first']}"
    return str(figure["status"])


def _value(figure: Document) -> str:
    if figure["figure"].endswith("_seconds"):
        return span(figure["baseline"])
    return number(figure["baseline"], "/s", digits=1)


def _percent(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{100 * ratio:.1f} %"


def _deviation(ratio: float | None) -> str:
    return UNKNOWN if ratio is None else f"{100 * (ratio - 1):+.1f} %"


def _shift(endpoint: str, name: str, figure: Document, now: float) -> Iterator[str]:
    shift = figure["shift"]
    if shift is None:
        return
    low, high = (_deviation(shift[each]) for each in ("ratio_low", "ratio_high"))
    confidence = min(999, int(1000 * shift["confidence"])) / 10
    yield (f"{endpoint} {name}: {_deviation(shift['ratio'])} ({low} to {high}), confidence {confidence:g} %")
    growing = "growing " if shift["shape"] == "gradual" else ""
    yield f"  {growing}since {moment(shift['onset'])} ({since(shift['onset'], now)})"
    for change in figure["changed"]:
        yield (
            f"  {change['name']}: {_shown(change['before'])} -> {_shown(change['after'])}, "
            f"first at {moment(change['at'])}"
        )
    if not figure["changed"]:
        yield "  nothing that is known changed with it"


def _shown(value: object) -> str:
    return "not known" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
