"""The part of the ledger that metrics show."""

from __future__ import annotations

from dataclasses import dataclass

from ..models import Operation, Snapshot
from ..verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Figures:
    """Read in one transaction.

    verdicts: of servers that hold a lease, about that very lease; operations: resets and undos
    under way.
    """

    snapshot: Snapshot
    verdicts: tuple[Verdict, ...]
    operations: tuple[Operation, ...]
