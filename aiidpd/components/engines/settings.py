"""Table [engines]: how often inference engines are polled for their own figures."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aiidpd.config.fields import Duration, Table, Was


class EnginesSettings(Table):
    """Component engines: what the engines behind [[bench.endpoints]] report."""

    interval: Annotated[Duration, Was("bench.engine_metrics_interval")] = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How often an engine is polled for its own figures (requests running and waiting, tokens "
        "generated), which vLLM shows at /metrics and llama-server does when started with --metrics. Less "
        "than a second counts as one; 0: never.",
    )
