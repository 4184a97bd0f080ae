"""The doctor over REST."""

from __future__ import annotations

from ..handlers import GpucampHandler

handlers: list[tuple[str, type[GpucampHandler]]] = []
