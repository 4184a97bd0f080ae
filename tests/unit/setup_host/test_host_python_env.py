"""The virtual environment is this checkout's own."""

from __future__ import annotations

import pytest

from setup_host import python_env
from setup_host.errors import SetupError


def test_the_environment_of_another_checkout_is_not_changed(settings, progress, tmp_path):
    theirs = tmp_path / "other" / "venv"
    settings.venv.rename(theirs.parent.mkdir() or theirs)
    settings.venv.symlink_to(theirs)
    before = sorted(theirs.rglob("*"))
    with pytest.raises(SetupError, match="is a link to .*other/venv") as refused:
        python_env.ensure(settings, progress)
    assert "remove the link" in refused.value.remedy
    assert sorted(theirs.rglob("*")) == before
