"""An environment of the tests' own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass
class Environment:
    """What is taken for the kernel's."""

    prefix: Path

    @property
    def site(self) -> Path:
        return self.prefix / "lib" / "python3.11" / "site-packages"

    def add(self, name: str, version: str, record: str | None = None) -> Path:
        """A package, as pip leaves it; its metadata's folder."""
        info = self.site / f"{name}-{version}.dist-info"
        info.mkdir()
        if record is not None:
            (info / "RECORD").write_text(record)
        return info
