"""The page of each code: what it means, why it happens, how to mend it.

Guarantees: docs/findings.md is the only source; it ships as share/gpucamp/findings.md of the
installation. A code without a page, or an installation without the file, gives None, never an
error.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

_HEADING = re.compile(r"^## (GC\d{3}) ", re.MULTILINE)
_PLACES = (
    Path(sys.prefix) / "share" / "gpucamp" / "findings.md",
    Path(__file__).resolve().parents[2] / "docs" / "findings.md",
)


def split(text: str) -> dict[str, str]:
    """code -> its section in Markdown, heading included."""
    starts = [(found[1], found.start()) for found in _HEADING.finditer(text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    return {
        # a section ends at a heading of a higher level, too
        code: text[start:end].partition("\n# ")[0].strip()
        for (code, start), end in zip(starts, ends, strict=True)
    }


@cache
def _sections() -> dict[str, str]:
    for place in reversed(_PLACES):
        try:
            return split(place.read_text("utf-8"))
        except OSError:
            continue
    return {}


def page(code: str) -> str | None:
    """The Markdown of a code, or None."""
    return _sections().get(code)


def codes() -> frozenset[str]:
    """All that have a page."""
    return frozenset(_sections())
