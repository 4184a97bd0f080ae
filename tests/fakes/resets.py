"""A whole reset, or its undo, of a server that does not run: what the service does, in one call."""

from __future__ import annotations

from datetime import datetime

from hub_ext.ledger import Ledger
from hub_ext.models import Environment, OperationKind, OperationStep


def reset(ledger: Ledger, user: str, server: str, now: datetime) -> Environment:
    """Go to a new generation."""
    return _operate(ledger, OperationKind.RESET, user, server, now)


def undo(
    ledger: Ledger, user: str, server: str, now: datetime, generation: int | None = None
) -> Environment:
    """Go back. Raises Conflict if there is nothing to go back to."""
    return _operate(ledger, OperationKind.UNDO, user, server, now, generation)


def _operate(
    ledger: Ledger,
    kind: OperationKind,
    user: str,
    server: str,
    now: datetime,
    generation: int | None = None,
) -> Environment:
    operation = ledger.begin_operation(
        kind,
        user,
        server,
        requested_by=user,
        start_after=False,
        user_options={},
        now=now,
        generation=generation,
    )
    environment = ledger.switch_environment(operation.id, now)
    ledger.advance_operation(operation.id, OperationStep.DONE, now)
    return environment
