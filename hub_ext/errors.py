"""Errors of the domain.

service/http_errors.py turns them into HTTP statuses, spawner.py into SpawnException.
"""

from __future__ import annotations


class GpucampError(Exception):
    """Base of all; the message is for people and says what to do."""


class BadRequest(GpucampError):
    """A request is out of bounds; the message says what is allowed."""


class NotFound(GpucampError):
    """No such user, server, lease or operation."""


class Conflict(GpucampError):
    """The thing is in a state that does not allow it (a reset under way, nothing to undo)."""


class ImageUnfit(GpucampError):
    """Nothing says that servers can run from this image; the message says what would."""


class Unmet(GpucampError):
    """A request is to be done only if something holds, and it does not."""


class TooMany(GpucampError):
    """Asked for more often than anybody needs; the message says to wait."""


class LedgerInUse(GpucampError):
    """Another hub holds this ledger; `owner` is the name in its claim."""

    def __init__(self, message: str, owner: str = "") -> None:
        super().__init__(message)
        self.owner = owner


class LedgerUnavailable(GpucampError):
    """The ledger cannot be read or written; nothing is leased on a guess."""


class InventoryUnavailable(GpucampError):
    """Which devices there are cannot be told now; the last inventory stays."""


class EngineUnavailable(GpucampError):
    """The Docker Engine did not answer, so nothing is known about containers."""


class HubUnavailable(GpucampError):
    """JupyterHub did not answer, or only with a passing error; ask again later."""


class HubRefused(GpucampError):
    """JupyterHub answered no; the message carries its reason. Asking again will not help."""


class EngineRefused(GpucampError):
    """The Docker Engine answered with an error; `status` is its HTTP status."""

    def __init__(self, message: str, status: int = 500) -> None:
        super().__init__(message)
        self.status = status


class NameTaken(EngineRefused):
    """A container of this name exists."""


class ImageMissing(EngineRefused):
    """The image is neither on this host nor in a registry."""


class TakenOutOfLine(GpucampError):
    """Somebody took a server that waits out of the line; "" where nobody can say who, or why."""

    def __init__(self, by: str, reason: str) -> None:
        super().__init__(f"{by or 'Somebody'} took the server out of the line: {reason or '-'}")
        self.by = by
        self.reason = reason


class QueueTimeout(GpucampError):
    """No device became free within the limit."""
