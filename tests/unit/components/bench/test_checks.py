from __future__ import annotations

from aiidpd.components.bench.checks import checks
from aiidpd.components.bench.settings import BenchSettings
from aiidpd.components.engines.checks import checks as engine_checks
from aiidpd.components.engines.settings import EnginesSettings
from aiidpd.contracts.checks import Outcome, Surroundings

ME = Surroundings(0, frozenset())


def test_an_endpoint_that_does_not_answer_and_one_that_is_made_up():
    closed = {"name": "a", "url": "http://127.0.0.1:1", "model": "m"}
    given = {"endpoints": [closed, {"name": "b", "kind": "simulated"}]}
    found = checks(BenchSettings.model_validate(given), ME)
    told = [result for check in found for result in check.run()]
    assert [each.outcome for each in told] == [Outcome.WARNING] * 2
    assert "the endpoint a does not answer at 127.0.0.1:1" in told[0].found
    assert "SIMULATED" in told[1].found
    servers = {"servers": [{"name": "s", "url": "http://127.0.0.1:1"}]}
    [check] = engine_checks(EnginesSettings.model_validate(servers), ME)
    assert [each.outcome for each in check.run()] == [Outcome.WARNING]
