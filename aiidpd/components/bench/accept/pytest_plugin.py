"""Plugin for pytest: ``pytest --aiidpd-target URL`` checks criteria of acceptance, a test for each.

Without that option it does nothing, and nothing else of aiidpd is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("aiidpd", "acceptance of an inference server")
    group.addoption("--aiidpd-target", metavar="URL", help="base URL of the server to check")
    group.addoption(
        "--aiidpd-profile", metavar="FILE", default="default", help="criteria: a file, or default or seed"
    )
    group.addoption("--aiidpd-model", metavar="NAME", default="", help="the model to request")
    group.addoption("--aiidpd-weights", metavar="SIZE", help="bytes that a token reads, as 4.58GiB")
    group.addoption("--aiidpd-gpu", metavar="NAME", help="the server's GPU, as 'RTX 4090'")
    group.addoption("--aiidpd-bandwidth", metavar="RATE", help="of its memory, as 448GB/s")


def pytest_configure(config: pytest.Config) -> None:
    """Read the profile where a target is given; a profile that can't be read ends the run."""
    if not config.getoption("--aiidpd-target"):
        return
    if getattr(config.option, "numprocesses", None) or hasattr(config, "workerinput"):
        raise pytest.UsageError("criteria are checked in one process: leave out -n")
    config.pluginmanager.register(Acceptance(config), "aiidpd-acceptance")


class Acceptance:
    """Measurement of a session, made once with the first criterion that runs."""

    def __init__(self, config: pytest.Config) -> None:
        from aiidpd.components.bench.accept.machine import Given
        from aiidpd.components.bench.accept.profile_text import parse_profile
        from aiidpd.components.bench.accept.runner import AcceptanceRequest, read_profile
        from aiidpd.components.bench.given import NotUsable
        from aiidpd.physics.units import NotAQuantity, parse_bytes, parse_rate

        weights, bandwidth = config.getoption("--aiidpd-weights"), config.getoption("--aiidpd-bandwidth")
        try:
            given = Given(
                weights=parse_bytes(weights) if weights else None,
                gpu=config.getoption("--aiidpd-gpu"),
                bandwidth=parse_rate(bandwidth) if bandwidth else None,
            )
            text = read_profile(config.getoption("--aiidpd-profile"))
        except (NotUsable, NotAQuantity) as error:
            raise pytest.UsageError(str(error)) from None
        self._profile = parse_profile(text)
        url, model = config.getoption("--aiidpd-target"), config.getoption("--aiidpd-model")
        self._asked = AcceptanceRequest(url, text, model, given=given, connect=_daemon)
        self._alone = config.args_source is not pytest.Config.ArgsSource.ARGS
        self._report: Any = None

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:  # noqa: ARG002 -- a hook's name
        """Leave other tests out where none are named on the command line."""
        return True if self._alone else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add a test for each criterion, before ``-k`` chooses."""
        criteria = Criteria.from_parent(session, name="aiidpd", nodeid="aiidpd", of=self)
        found = session.ihook.pytest_make_collect_report(collector=criteria)
        session.ihook.pytest_collectreport(report=found)  # so that they are counted
        items += found.result

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the criteria."""
        return tuple(each.name for each in self._profile.criteria)

    def report(self) -> Any:
        """Return the report; the first call measures."""
        if self._report is None:
            from aiidpd.components.bench.accept.machine import UnknownGpu
            from aiidpd.components.bench.accept.runner import accept
            from aiidpd.components.bench.given import NotUsable

            try:
                self._report = accept(self._asked, lambda _: None)
            except (NotUsable, UnknownGpu) as error:
                pytest.exit(str(error), returncode=pytest.ExitCode.USAGE_ERROR)
        return self._report


class NotAccepted(Exception):
    """A criterion that was not met; its text is all that is shown."""


class Criteria(pytest.Collector):
    """Criteria of the profile, a test each."""

    def __init__(self, *, of: Acceptance, **more: Any) -> None:
        super().__init__(**more)
        self._of = of

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the tests."""
        for name in self._of.names:
            yield CriterionItem.from_parent(self, name=name, of=self._of)


class CriterionItem(pytest.Item):
    """Test of one criterion."""

    def __init__(self, *, of: Acceptance, **more: Any) -> None:
        super().__init__(**more)
        self._of = of

    def runtest(self) -> None:
        """Fail where the criterion was not met; skip where it is for another engine or need not be known."""
        from aiidpd.components.bench.accept.report_text import failure_text
        from aiidpd.components.bench.accept.verdict import Outcome

        verdicts = self._of.report().verdicts
        verdict = next(each for each in verdicts if each.criterion.name == self.name)
        words = failure_text(verdict)
        if not verdict.good:
            raise NotAccepted(words)
        if verdict.outcome is not Outcome.PASSED:
            pytest.skip(words)
        self.add_report_section("call", "aiidpd", words)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the reason alone: where it was raised says nothing."""
        if isinstance(excinfo.value, NotAccepted):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return where it is from: the criteria are in no file of the session."""
        return self.path, None, self.name


def _daemon() -> Any:
    from aiidpd.api.client import DEFAULT_SOCKET, ControlClient

    return ControlClient(os.environ.get("AIIDPCTL_SOCKET") or DEFAULT_SOCKET)
