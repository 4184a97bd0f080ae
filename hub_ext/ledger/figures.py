"""The part of the ledger that metrics show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..models import GroupAction, Operation, Snapshot
from ..verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Figures:
    """Read in one transaction.

    verdicts: of servers that hold a lease, about that very lease; operations: resets and undos
    under way; groups: how many of them something is done about; members: how many of their members
    have no result yet; pulls: images that are being pulled.
    """

    snapshot: Snapshot
    verdicts: tuple[Verdict, ...]
    operations: tuple[Operation, ...]
    groups: Mapping[GroupAction, int]
    members: Mapping[GroupAction, int]
    pulls: int
