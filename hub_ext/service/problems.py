"""Problem details (RFC 9457): the form of every error below api/. Pure.

Guarantees: `type` is "about:blank", where the status says it all, or the address of one of KINDS
on the service's own page about REST; it stays the same from version to version. `detail` is for
people, in their language, and says what to do.
"""

from __future__ import annotations

import json
from typing import Any

from ..errors import (
    EngineRefused,
    EngineUnavailable,
    HubRefused,
    HubUnavailable,
    ImageUnfit,
    LedgerInUse,
    LedgerUnavailable,
)
from ..i18n import N_, _
from .cursors import BadCursor
from .idempotency import KeyInUse, KeyReused, OutcomeUnknown

MEDIA_TYPE = "application/problem+json"
BLANK = "about:blank"
PAGE = "docs/api"  # below the service's prefix; each kind is a fragment of it

# Problems that a program may want to tell apart: the last part of `type` -> title.
KINDS: dict[str, str] = {
    "hub-unavailable": N_("JupyterHub does not answer"),
    "hub-refused": N_("JupyterHub said no"),
    "ledger-unavailable": N_("The ledger does not answer"),
    "engine-unavailable": N_("The Docker Engine does not answer"),
    "engine-refused": N_("The Docker Engine said no"),
    "image-unfit": N_("The image is not one for servers"),
    "bad-cursor": N_("The cursor is of another list"),
    "idempotency-key-in-use": N_("The first request with this key is under way"),
    "idempotency-key-reused": N_("The key was used for another request"),
    "idempotency-outcome-unknown": N_("The first request with this key was cut off"),
}
_KIND_OF: tuple[tuple[type[Exception], str], ...] = (
    (HubUnavailable, "hub-unavailable"),
    (HubRefused, "hub-refused"),
    (LedgerUnavailable, "ledger-unavailable"),
    (LedgerInUse, "ledger-unavailable"),
    (EngineUnavailable, "engine-unavailable"),
    (EngineRefused, "engine-refused"),
    (ImageUnfit, "image-unfit"),
    (BadCursor, "bad-cursor"),
    (KeyInUse, "idempotency-key-in-use"),
    (KeyReused, "idempotency-key-reused"),
    (OutcomeUnknown, "idempotency-outcome-unknown"),
)

# Of what is "about:blank": the status in words.
_TITLES = {
    400: N_("Bad request"),
    401: N_("Not signed in"),
    403: N_("Not allowed"),
    404: N_("Not found"),
    405: N_("Method not allowed"),
    409: N_("Conflict"),
    412: N_("Condition not met"),
    413: N_("Content too large"),
    429: N_("Too many requests"),
    500: N_("Unexpected error"),
    502: N_("Bad gateway"),
    503: N_("Not available right now"),
}
_OTHER = N_("Something went wrong")


def kind_of(error: BaseException | None) -> str | None:
    """The kind of KINDS that an error is; None if its status says it all."""
    return next((kind for of, kind in _KIND_OF if isinstance(error, of)), None)


def problem(
    error: BaseException | None, status: int, detail: str, prefix: str, instance: str = ""
) -> dict[str, Any]:
    """The problem document for an error, in the language of the running request.

    `prefix` is the service's; `instance` names this one occurrence, "" leaves it out.
    """
    kind = kind_of(error)
    return {
        "type": f"{prefix}{PAGE}#{kind}" if kind else BLANK,
        "title": _(KINDS[kind] if kind else _TITLES.get(status, _OTHER)),
        "status": status,
        "detail": detail,
        **({"instance": instance} if instance else {}),
    }


def as_json(document: dict[str, Any]) -> str:
    """The document as it is sent."""
    return json.dumps(document, ensure_ascii=False)
