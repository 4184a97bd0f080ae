"""How much disk people's volumes take, and what follows from it. Pure.

Guarantees: only generations that are kept for an undo are ever given up, the one left first before
the others, and only while a user's environments together are above their limit; neither an
environment in use nor work is ever among them; a volume that could not be measured counts as empty,
so that nothing is given up for what nobody knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

GIB = 1024**3
SHORT_SHARE = 0.8  # of a limit: from here on its user is warned


@dataclass(frozen=True, slots=True)
class VolumeFact:
    """One volume, as the Engine tells of it. size: bytes, None where it could not be measured."""

    user: str
    size: int | None
    environment: tuple[str, int] | None  # server, generation; None: the user's work


@dataclass(frozen=True, slots=True)
class KeptEnvironment:
    """A generation that its user could go back to."""

    server: str
    generation: int
    left_at: datetime


@dataclass(frozen=True, slots=True)
class UserSpace:
    """What one user's volumes take, in bytes."""

    environments: Mapping[tuple[str, int], int] = field(default_factory=dict)
    work: int = 0

    @property
    def environments_bytes(self) -> int:
        """All generations of all servers together."""
        return sum(self.environments.values())

    def without(self, *gone: tuple[str, int]) -> UserSpace:
        """The same without these generations (server, generation)."""
        left = {key: size for key, size in self.environments.items() if key not in gone}
        return UserSpace(left, self.work)


class Level(StrEnum):
    """How a use stands to its limit."""

    FINE = "fine"
    SHORT = "short"  # from SHORT_SHARE on
    FULL = "full"  # nothing is left


def by_user(volumes: Iterable[VolumeFact]) -> dict[str, UserSpace]:
    """What each user's volumes take together."""
    environments: dict[str, dict[tuple[str, int], int]] = {}
    work: dict[str, int] = {}
    for each in volumes:
        mine = environments.setdefault(each.user, {})
        size = max(each.size or 0, 0)
        if each.environment is None:
            work[each.user] = work.get(each.user, 0) + size
        else:
            mine[each.environment] = mine.get(each.environment, 0) + size
    return {user: UserSpace(mine, work.get(user, 0)) for user, mine in environments.items()}


def limit_bytes(gib: float | None) -> int | None:
    """A limit of a policy's rule in bytes; None: not limited."""
    return None if gib is None else int(gib * GIB)


def level(used: int, limit: int | None) -> Level:
    """Bytes used of a limit in bytes (None: not limited)."""
    if limit is None or used < limit * SHORT_SHARE:
        return Level.FINE
    return Level.FULL if used >= limit else Level.SHORT


def to_give_up(
    space: UserSpace, limit: int | None, kept: Iterable[KeptEnvironment]
) -> tuple[KeptEnvironment, ...]:
    """The kept generations without which a user's environments are below their limit, oldest first;
    all of them where that is not enough. One that takes nothing is left.
    """
    if limit is None:
        return ()
    given: list[KeptEnvironment] = []
    used = space.environments_bytes
    for each in sorted(kept, key=lambda one: (one.left_at, one.server, one.generation)):
        if used < limit:
            break
        size = space.environments.get((each.server, each.generation), 0)
        if size:
            given.append(each)
            used -= size
    return tuple(given)
