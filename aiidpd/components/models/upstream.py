"""Newest revisions of models on the hub, by its HTTP API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import quote

import anyio

from aiidpd.components.models.record import RevisionRecord
from aiidpd.formats.huggingface import is_commit
from aiidpd.platform.http import Client, get_json

MOST_BYTES: Final = 8 * 2**20
PATIENCE: Final = 20.0
"""Seconds for one answer."""
_ENOUGH: Final = 429
_REASONS: Final = {
    401: "the endpoint wants a token for it (models.token), or has no such model",
    403: "the endpoint refuses it to this token",
    404: "the endpoint has no such model or branch",
    429: "the endpoint has had enough requests for now",
}


class Hub:
    """Hub at ``endpoint``. One request at a time; nothing but the name, the branch and the token is sent."""

    def __init__(self, endpoint: str, token: str | None, time: Callable[[], float]) -> None:
        self._endpoint = endpoint
        self._headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._time = time
        self._client = Client(tls=endpoint.lower().startswith("https:"))
        self.exhausted = False
        """True where the endpoint has refused any more requests for now."""

    async def newest(self, repository: str, branch: str) -> RevisionRecord:
        """Return the commit of ``branch``, or why it is not known: an endpoint makes it raise nothing."""
        path = f"/api/models/{quote(repository, safe='/')}/revision/{quote(branch, safe='')}"
        with anyio.move_on_after(PATIENCE):
            answer = await get_json(self._client, self._endpoint + path, self._headers, MOST_BYTES)
            return self._record(answer.status, answer.document, answer.reason)
        return self._record(0, None, f"the endpoint did not answer within {PATIENCE:g} s")

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _record(self, status: int, document: object, reason: str) -> RevisionRecord:
        self.exhausted |= status == _ENOUGH
        if document is None:
            return RevisionRecord(self._time(), "", _REASONS.get(status, reason))
        commit = document.get("sha") if isinstance(document, dict) else None
        if isinstance(commit, str) and is_commit(commit):
            return RevisionRecord(self._time(), commit, "")
        return RevisionRecord(self._time(), "", "the endpoint's answer names no commit")
