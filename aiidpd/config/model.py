"""The settings: frozen types, one class a table. What each key means stands in its description.

docs/configuration.md and etc/aiidpd.toml are written from these descriptions
(``python -m aiidpd.config.document``). Durations are in seconds, sizes in bytes, temperatures in
degrees Celsius; None and the empty string both mean "unset".
"""

from __future__ import annotations

from typing import Any

from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from aiidpd.config.tables.daemon import Control, Daemon, Energy, History, Incidents, Telemetry
from aiidpd.config.tables.gpu import Gpu
from aiidpd.config.tables.workers import Backup, Bench, Containers


class Settings(BaseSettings):
    """The whole configuration. ``Settings()`` is the defaults; files and the environment come by ``load``."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    daemon: Daemon = Daemon()
    gpu: Gpu = Gpu()
    incidents: Incidents = Incidents()
    energy: Energy = Energy()
    containers: Containers = Containers()
    backup: Backup = Backup()
    bench: Bench = Bench()
    telemetry: Telemetry = Telemetry()
    control: Control = Control()
    history: History = History()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 -- the hook's signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- our own refuses unknown variables
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take the sources that ``load`` hands over as the argument ``sources``, else the arguments alone."""
        given: dict[str, Any] = (
            init_settings.init_kwargs if isinstance(init_settings, InitSettingsSource) else {}
        )
        sources: tuple[PydanticBaseSettingsSource, ...] | None = given.get("sources")
        return (init_settings,) if sources is None else sources
