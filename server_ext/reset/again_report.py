"""How far "install again" is, as it is kept and told. Pure.

Guarantee: whatever is in the file, what is told has the form that the REST interface promises.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ..i18n import N_, Gettext
from .again_files import Wish
from .environment_lock import Locked

State = Literal["waiting", "installing", "installed", "failed"]
_STATES: tuple[State, ...] = ("waiting", "installing", "installed", "failed")

CUT_OFF = N_("The server ended each time while it was being installed.")
NOTHING: dict[str, Any] = {"state": "none", "packages": []}


@dataclass
class Item:
    """A package. why: what pip said, or a msgid; "" unless it failed."""

    name: str
    version: str
    state: State = "waiting"
    why: str = ""


@dataclass
class Report:
    """identity: of the wish; attempts: how many servers have begun it; generation: of the
    environment that it is about, None where that is not known.
    """

    identity: str
    items: list[Item]
    done: bool = False
    attempts: int = 0
    generation: int | None = None

    @classmethod
    def of(cls, wish: Wish) -> Report:
        """Of one that nothing was done for yet."""
        return cls(wish.identity, [Item(one.name, one.version) for one in wish.packages])

    @classmethod
    def read(cls, kept: dict[str, Any] | None) -> Report | None:
        """What `keep` gave; None: it is not that."""
        if kept is None:
            return None
        identity, attempts, packages = (kept.get(k) for k in ("identity", "attempts", "packages"))
        if not (isinstance(identity, str) and type(attempts) is int and isinstance(packages, list)):
            return None
        items = [_item(one) for one in packages]
        found = [item for item in items if item is not None]
        if len(found) < len(items):
            return None
        number = kept.get("generation")
        generation = number if type(number) is int else None
        return cls(identity, found, kept.get("done") is True, attempts, generation)

    def keep(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "identity": self.identity,
            "attempts": self.attempts,
            "done": self.done,
            "generation": self.generation,
            "packages": [vars(item) for item in self.items],
        }

    def mark(self, packages: Iterable[Locked], state: State, why: str = "") -> None:
        """Says of packages how far they are."""
        names = {package.name for package in packages}
        for item in self.items:
            if item.name in names:
                item.state, item.why = state, why

    def tell(self, gettext: Gettext, *, installs: bool) -> dict[str, Any]:
        """As the REST interface says it. installs: whether anybody is at work on it."""
        state = "done" if self.done else "installing" if installs else "waiting"
        packages = [
            vars(item) | {"why": gettext(item.why) if item.why else ""} for item in self.items
        ]
        return {"state": state, "packages": packages}


def _item(kept: object) -> Item | None:
    if not isinstance(kept, dict):
        return None
    texts = [kept.get(key) for key in ("name", "version", "why")]
    state = next((one for one in _STATES if one == kept.get("state")), None)
    if state is None or not all(isinstance(text, str) for text in texts):
        return None
    name, version, why = map(str, texts)
    return Item(name, version, state, why)
