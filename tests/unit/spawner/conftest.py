"""A place for one server's order of calls."""

from __future__ import annotations

from pathlib import Path

import pytest
from one_server import Place, new_place

from hub_ext import lifecycle


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """With an Engine that answers; clean-ups are tried again at once."""
    monkeypatch.setattr(lifecycle, "RETRY_CLEAN_UP", 0.05)
    monkeypatch.setattr(lifecycle, "LOOK_EVERY", 0.05)
    return new_place(tmp_path)
