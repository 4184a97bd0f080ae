"""JupyterHub's own database, as answer_promptly sets it up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jupyterhub import orm
from sqlalchemy import text

from hub_ext.hub_database import WriteAheadConnection, kwargs_for

WRITER = """
import os, sys
from jupyterhub import orm
from hub_ext.hub_database import kwargs_for
url = sys.argv[1]
db = orm.new_session_factory(url, **kwargs_for(url, None))()
for number in range(20):
    db.add(orm.User(name=f"user{number}"))
    db.commit()
print("written", flush=True)
sys.stdin.read()
"""


def test_jupyterhub_opens_it_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    db = orm.new_session_factory(url, **kwargs_for(url, None))()
    assert db.execute(text("PRAGMA journal_mode")).scalar() == "wal"
    assert db.execute(text("PRAGMA synchronous")).scalar() == 1  # NORMAL
    assert db.execute(text("PRAGMA foreign_keys")).scalar() == 1  # JupyterHub's own setting stays
    db.close()


def test_a_hub_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hub.sqlite"
    hub = subprocess.Popen(
        [sys.executable, "-c", WRITER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert hub.stdout is not None
    assert hub.stdout.readline() == b"written\n"
    hub.send_signal(signal.SIGKILL)
    hub.communicate(timeout=60)
    db = orm.new_session_factory(url)()  # also by what opens it in the usual way
    assert db.query(orm.User).count() == 20
    db.close()


@pytest.mark.parametrize("url", [None, "hub.sqlite", "sqlite:///hub.sqlite", "sqlite://"])
def test_every_name_of_sqlite(url: str | None) -> None:
    assert kwargs_for(url, None)["connect_args"]["factory"] is WriteAheadConnection


@pytest.mark.parametrize(
    ("url", "given"),
    [
        ("postgresql+psycopg://hub@db/hub", {}),
        ("postgresql+psycopg://hub@db/hub", {"pool_size": 3}),
        ("mysql://hub@db/hub", {"connect_args": {"charset": "utf8"}}),
    ],
)
def test_another_database_is_left_alone(url: str, given: dict[str, Any]) -> None:
    assert kwargs_for(url, given) == given


def test_what_is_set_already_stays() -> None:
    given = {"pool_size": 3, "connect_args": {"timeout": 60, "check_same_thread": True}}
    found = kwargs_for("sqlite:///hub.sqlite", given)
    assert found["pool_size"] == 3
    assert found["connect_args"] == {"factory": WriteAheadConnection, **given["connect_args"]}
    assert "factory" not in given["connect_args"]
