"""Small JSON values in text columns: read thousands of times per second, and mostly the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache


@lru_cache(maxsize=4096)
def names(text: str) -> tuple[str, ...]:
    """Names of groups."""
    return tuple(json.loads(text))


def names_text(values: Sequence[str]) -> str:
    """The inverse of `names`."""
    return json.dumps(list(values))


def mapping(text: str) -> dict[str, object]:
    """A JSON object; the caller may change it, not what is in it."""
    return dict(_mapping(text))


@lru_cache(maxsize=4096)
def _mapping(text: str) -> dict[str, object]:
    return dict(json.loads(text))


@lru_cache(maxsize=8192)
def links(text: str) -> tuple[tuple[str, int], ...]:
    """A device's links: (UUID of the other, score)."""
    return tuple((uuid, score) for uuid, score in json.loads(text))


def links_text(values: Sequence[tuple[str, int]]) -> str:
    """The inverse of `links`."""
    return json.dumps([[uuid, score] for uuid, score in values])
