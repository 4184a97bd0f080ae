"""Errors of the domain -> HTTP statuses, in this one place.

Guarantees: every error, expected or not, becomes a status and a message for people; an unexpected
one shows nothing of the inside (it is in the log).
"""

from __future__ import annotations

from tornado.web import HTTPError

from ..errors import (
    BadRequest,
    Conflict,
    EngineRefused,
    EngineUnavailable,
    HubRefused,
    HubUnavailable,
    ImageUnfit,
    LedgerInUse,
    LedgerUnavailable,
    NotFound,
    TooMany,
    Unmet,
)
from ..i18n import N_, _
from .auth import Forbidden
from .idempotency import KeyReused

STATUS: tuple[tuple[type[Exception], int], ...] = (
    (BadRequest, 400),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (ImageUnfit, 422),
    (Unmet, 412),
    (KeyReused, 422),
    (TooMany, 429),
    (HubRefused, 502),
    (EngineRefused, 502),
    (HubUnavailable, 503),
    (LedgerUnavailable, 503),
    (LedgerInUse, 503),
    (EngineUnavailable, 503),
)

# What depends on other parts is told in general words: where the ledger lies, or what an Engine
# said, is for the log.
_AWAY: tuple[tuple[type[Exception], str], ...] = (
    (HubUnavailable, N_("JupyterHub did not answer. It may be restarting; try again in a minute.")),
    (
        LedgerUnavailable,
        N_("gpucamp's ledger does not answer, so nothing was changed. Tell your instructor."),
    ),
    (
        EngineUnavailable,
        N_("The Docker Engine did not answer. Try again in a minute, or tell your instructor."),
    ),
)

# What to say when the error itself says nothing fit for people.
_BY_STATUS = {
    400: N_(
        "The request could not be understood. What stands in its address must be UTF-8, "
        "percent-encoded; a body must be JSON."
    ),
    401: N_("Sign in first, or send a JupyterHub token in the Authorization header."),
    403: N_("You may not do this."),
    404: N_("There is nothing here."),
    413: N_("The request is too large: a body may have 64 KiB at most."),
    # what signs people in says this when the hub does not answer it
    502: N_("JupyterHub did not answer. It may be restarting; try again in a minute."),
}
_OTHER = N_("Something went wrong in gpucamp. Try again; if it stays so, tell your instructor.")


def status_of(error: BaseException | None) -> int | None:
    """The status for an error of the domain or of tornado; None for anything unexpected."""
    if isinstance(error, HTTPError):
        return error.status_code
    for kind, status in STATUS:
        if isinstance(error, kind):
            return status
    return None


def message_for(error: BaseException | None, status: int) -> str:
    """What a person reads, in their language."""
    for kind, text in _AWAY:
        if isinstance(error, kind):
            return _(text)
    if error is not None and any(isinstance(error, kind) for kind, _status in STATUS):
        # the reason may come from the hub, the ledger or the Engine, in their words
        return _(str(error)) if str(error) else _(_OTHER)
    return _(_BY_STATUS.get(status, _OTHER))
