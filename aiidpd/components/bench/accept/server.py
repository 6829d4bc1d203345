"""Server under acceptance, as it describes itself, and its answers to questions, each bounded."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final

from aiidpd.engines.all import ENGINES
from aiidpd.engines.chat import error_text
from aiidpd.engines.faults import Fault, status_fault
from aiidpd.engines.urls import page_url
from aiidpd.kernel.errors import Misconfigured

_MOST_BYTES: Final = 4 << 20
_NAME: Final = "that is measured"
_OWNERS: Final = {each.owner: each.name for each in ENGINES if each.owner}


class RequestFailedError(Exception):
    """A request without an answer: its label, and the reason."""

    def __init__(self, fault: Fault, reason: str) -> None:
        self.fault = fault
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Described:
    """Model that is requested, engine (empty where not known), and what the server says of the model.

    ``weights`` and ``parameters`` are all of it: of a mixture of experts, a token needs fewer.
    """

    model: str
    engine: str = ""
    weights: float | None = None
    parameters: float | None = None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow nothing: another server would be measured."""


_OPENER: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def exchange(url: str, path: str, api_key: str, timeout: float, body: bytes | None = None) -> Any:
    """Return the JSON document that ``path`` answers; raises :class:`RequestFailedError`. Blocks."""
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    request = urllib.request.Request(page_url(url, _NAME, path), data=body, headers=headers)  # noqa: S310 -- http(s) alone
    try:
        with _OPENER.open(request, timeout=timeout) as response:
            data = response.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            said = error_text(error.read(4096).decode(errors="replace"))
        raise RequestFailedError(status_fault(error.code), f"it answers {error.code}: {said}") from None
    except TimeoutError:
        raise RequestFailedError(Fault.LATE, f"no answer within {timeout:g} s") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", error)
        words = getattr(reason, "strerror", None) or str(reason) or type(error).__name__
        raise RequestFailedError(Fault.UNREACHABLE, words.lower()[:200]) from None
    if len(data) > _MOST_BYTES:
        raise RequestFailedError(Fault.TOO_LONG, f"more than {_MOST_BYTES >> 20} MiB came")
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise RequestFailedError(Fault.MALFORMED, "its answer is no JSON") from None


def describe(url: str, model: str, api_key: str, timeout: float) -> Described:
    """Return what the server lists of ``model``, its only one where that is empty.

    Raises :class:`Misconfigured` where it lists several and none is named, and :class:`RequestFailedError`.
    """
    try:
        document = exchange(url, "/v1/models", api_key, timeout)
    except RequestFailedError as error:
        if error.fault in (Fault.NOT_FOUND, Fault.MALFORMED, Fault.REFUSED):
            return Described(model)  # it has no such page
        raise
    listed = document.get("data") if isinstance(document, Mapping) else None
    rows = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    names = [str(each.get("id", ""))[:200] for each in rows]
    if not model and len(names) > 1:
        shown = ", ".join(names[:5])
        raise Misconfigured(
            "measure", url, reason=f"it serves {len(names)} models: {shown}", remedy="name one by --model"
        )
    row = next((each for each in rows if each.get("id") == model), rows[0] if rows else {})
    meta = row.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    return Described(
        model or (names[0] if names else ""),
        _OWNERS.get(str(row.get("owned_by")), ""),
        _positive(meta.get("size")),
        _positive(meta.get("n_params")),
    )


def _positive(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value < 1e18 else None  # noqa: PLR2004 -- no model has as many
