"""Alert rules: a name, a severity, sentences, and how patient each is (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from string import Formatter

from aiidpd.kernel.events import Scalar, Severity

RUNBOOK = "aiidpctl runbook"
"""Command that shows a page, which is installed with the service: a path in a checkout is not."""


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One kind of alert, as data. All times in seconds.

    ``name`` is written as Prometheus writes alerts (``GpuTemperatureWarning``). ``meaning`` is one sentence
    for the reference; ``summary`` is the sentence for one case, a format string over the evidence of an
    observation, and ``ended`` the one for its end, where the summary would be wrong then; ``remedy`` is
    what to do first, and the rest is in the runbook.

    The condition must hold for ``dwell`` before the alert fires; it must be clear for ``keep_firing``
    before it is resolved. Of what nobody knows any more the alert ends as *expired* after ``stale_after``.
    ``looks_back`` is how much of the past the condition is about: for so long after a restart of the daemon,
    which forgets it, a clear condition does not resolve what fired before.
    """

    name: str
    severity: Severity
    meaning: str
    summary: str
    remedy: str
    dwell: float = 0.0
    keep_firing: float = 0.0
    stale_after: float = 300.0
    looks_back: float = 0.0
    ended: str = ""

    def __post_init__(self) -> None:
        if min(self.dwell, self.keep_firing, self.looks_back) < 0 or self.stale_after <= 0:
            raise ValueError(f"{self.name}: its times can't be negative, and stale_after not 0")

    @property
    def runbook(self) -> str:
        """Command that shows the page for the person on call: what to do."""
        return f"{RUNBOOK} {self.name}"

    @property
    def needs(self) -> frozenset[str]:
        """Evidence that the sentences name."""
        return frozenset(name for _, name, _, _ in Formatter().parse(self.summary + self.ended) if name)

    def summarize(self, evidence: Mapping[str, Scalar]) -> str:
        """Return the summary with ``evidence`` in it."""
        return self.summary.format_map(evidence)

    def summarize_end(self, evidence: Mapping[str, Scalar]) -> str:
        """Return the sentence for the end with ``evidence`` in it."""
        return (self.ended or self.summary).format_map(evidence)


def by_name(rules: Iterable[AlertRule]) -> dict[str, AlertRule]:
    """Return ``rules`` by their names; raises ValueError where one is used twice."""
    found: dict[str, AlertRule] = {}
    for rule in rules:
        if rule.name in found:
            raise ValueError(f"two alerts are called {rule.name}")
        found[rule.name] = rule
    return found


def table(rules: Iterable[AlertRule]) -> str:
    """Return ``rules`` as a Markdown table."""
    rows = ["| alert | severity | fires when | dwell | keeps firing |", "| --- | --- | --- | --- | --- |"]
    rows += [
        f"| [{rule.name}](../aiidpd/alerts/runbooks/{rule.name}.md) | {rule.severity.name.lower()} "
        f"| {rule.meaning} | {rule.dwell:g} s | {rule.keep_firing:g} s |"
        for rule in rules
    ]
    return "\n".join(rows) + "\n"
