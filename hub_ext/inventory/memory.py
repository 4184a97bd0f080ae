"""Where an inventory keeps what has to outlive its process."""

from __future__ import annotations

from typing import Protocol


class Memory(Protocol):
    """Short texts by name; the ledger is one. Its errors are GpucampErrors."""

    def remember(self, name: str, value: str) -> None:
        """Keep the value, in place of an earlier one."""
        ...

    def recall(self, name: str) -> str | None:
        """The value, None if there is none."""
        ...
