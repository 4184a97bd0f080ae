"""Who gets in: people with an account and its password, and nobody else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import timedelta

import bcrypt
import pytest
from jupyterhub import orm
from nativeauthenticator.orm import UserInfo
from sqlalchemy.orm import Session

from hub_ext import sign_in
from hub_ext.accounts import Account, write
from hub_ext.sign_in import SignIn
from hub_ext.turnstile import HANDLERS

PASSWORD = "correct horse battery"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    gensalt = bcrypt.gensalt
    monkeypatch.setattr(bcrypt, "gensalt", lambda rounds=4: gensalt(rounds))
    made = orm.new_session_factory("sqlite:///:memory:")()
    write(made, [Account("ada", PASSWORD), Account("lin", "another password")])
    yield made
    made.close()
    made.get_bind().dispose()  # type: ignore[union-attr]


@pytest.fixture
def door(session: Session) -> SignIn:
    return SignIn(db=session)


async def enter(door: SignIn, name: str, password: str) -> str | None:
    return await door.authenticate(None, {"username": name, "password": password})


async def test_the_right_password_opens_ones_own_account(door: SignIn) -> None:
    assert await enter(door, "ada", PASSWORD) == "ada"
    assert await enter(door, "ADA", PASSWORD) == "ada"


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", ""),
        ("ada", "another password"),  # lin's
        ("ada", PASSWORD + " "),
        ("ada", PASSWORD * 10),
        ("ada", "\0"),
        ("nobody", PASSWORD),
        ("", ""),
        ("ada' or '1'='1", PASSWORD),
    ],
)
async def test_anything_else_opens_nothing(door: SignIn, name: str, password: str) -> None:
    assert await enter(door, name, password) is None


async def test_a_stranger_does_not_make_an_account(door: SignIn, session: Session) -> None:
    assert await enter(door, "stranger", "a password of mine") is None
    assert UserInfo.find(session, "stranger") is None
    assert door.create_user("stranger", "a password of mine") is None
    paths = [path for path, handler in door.get_handlers(None) if (path, handler) not in HANDLERS]
    assert paths == ["/login", "/change-password", "/change-password/([^/]+)"]


async def test_an_account_that_was_closed_stays_closed(door: SignIn, session: Session) -> None:
    UserInfo.change_authorization(session, "ada")
    assert await enter(door, "ada", PASSWORD) is None


async def test_guessing_is_slowed_down_and_ends(door: SignIn) -> None:
    for _ in range(door.allowed_failed_logins):
        assert await enter(door, "ada", "a guess") is None
    assert await enter(door, "ada", PASSWORD) is None  # even the right one
    assert await enter(door, "lin", "another password") == "lin"  # others are not hurt
    attempts = door.login_attempts["ada"]
    attempts["time"] -= timedelta(seconds=door.seconds_before_next_try + 2)
    assert await enter(door, "ada", PASSWORD) == "ada"


async def test_the_hub_goes_on_while_a_password_is_checked(
    door: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sign_in, "matches", lambda password, stored: time.sleep(0.4) or True)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.02)
            ticks += 1

    beat = asyncio.create_task(tick())
    assert await enter(door, "ada", PASSWORD) == "ada"
    beat.cancel()
    assert ticks >= 5


def test_new_passwords_must_be_usable(door: SignIn) -> None:
    assert door.is_password_strong("a long enough one")
    assert not door.is_password_strong("short")
    assert not door.is_password_strong("x" * 73)
    assert not door.is_password_strong("ä" * 37)  # 74 bytes
    assert not door.is_password_strong("1234567890")  # on the list of common ones


def test_an_unknown_name_is_compared_with_a_real_hash() -> None:
    assert sign_in.matches("anything", sign_in._NOBODY) is False
    assert bcrypt.hashpw(b"anything", sign_in._NOBODY) != sign_in._NOBODY
