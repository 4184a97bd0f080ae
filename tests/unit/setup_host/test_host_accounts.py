"""First passwords and accounts, with the hub's own database and bcrypt."""

from __future__ import annotations

import io
import re
import sqlite3
import stat
from typing import Any

import bcrypt
import pytest

from hub_ext import accounts as hub_side
from setup_host import accounts
from setup_host.errors import SetupError
from setup_host.progress import Progress
from setup_host.settings import Settings


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's side in this process and with cheap hashes: a second faster per call."""
    gensalt = bcrypt.gensalt
    monkeypatch.setattr(hub_side.bcrypt, "gensalt", lambda rounds=4: gensalt(rounds))

    def ask(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
        settings.hub_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        session = hub_side.open_session(f"sqlite:///{settings.hub_folder}/jupyterhub.sqlite")
        try:
            return hub_side.answer(session, request)
        finally:
            session.close()
            session.get_bind().dispose()  # type: ignore[union-attr]

    monkeypatch.setattr(accounts, "_ask", ask)


cheaply = pytest.mark.usefixtures("in_process")


def stored(settings: Settings) -> dict[str, bytes]:
    """name -> bcrypt hash, as the hub will read it."""
    with sqlite3.connect(settings.hub_folder / "jupyterhub.sqlite") as database:
        return dict(database.execute("select username, password from users_info").fetchall())


def in_file(settings: Settings) -> dict[str, tuple[str, str]]:
    return accounts.read_passwords(accounts.password_file(settings))


def test_a_first_password_opens_its_account_and_only_its_owner_can_read_it(
    settings: Settings, progress: Progress
) -> None:
    # through the real command, with the hub's real hashes
    accounts.ensure(settings, progress, (accounts.Person("ada", "participant"),))
    path = accounts.password_file(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.hub_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((settings.hub_folder / "jupyterhub.sqlite").stat().st_mode) == 0o600
    password, _ = in_file(settings)["ada"]
    hashed = stored(settings)["ada"]
    assert bcrypt.checkpw(password.encode(), hashed)
    assert hashed.startswith(b"$2b$12$")
    assert password.encode() not in (settings.hub_folder / "jupyterhub.sqlite").read_bytes()


@cheaply
def test_everyone_gets_a_password_of_their_own(settings: Settings, progress: Progress) -> None:
    made = accounts.ensure(settings, progress)
    assert made == ["admin", "instructor", "participant1", "participant2"]
    people = in_file(settings)
    assert [role for _, role in people.values()] == ["admin", "instructor", *["participant"] * 2]
    assert len({password for password, _ in people.values()}) == 4
    hashes = stored(settings)
    for name, (password, _) in people.items():
        assert [
            other for other, hashed in hashes.items() if bcrypt.checkpw(password.encode(), hashed)
        ] == [name]


@cheaply
def test_a_second_run_changes_nothing(
    settings: Settings, progress: Progress, said: io.StringIO
) -> None:
    accounts.ensure(settings, progress)
    before = stored(settings), in_file(settings)
    said.truncate(0)
    assert accounts.ensure(settings, progress) == []
    assert (stored(settings), in_file(settings)) == before
    assert said.getvalue().strip("\0") == ""


@cheaply
def test_the_instructor_is_in_the_instructors_group(settings: Settings, progress: Progress) -> None:
    accounts.ensure(settings, progress)
    with sqlite3.connect(settings.hub_folder / "jupyterhub.sqlite") as database:
        members = database.execute(
            'select users.name, "groups".name from user_group_map '
            "join users on users.id = user_id "
            'join "groups" on "groups".id = group_id'
        ).fetchall()
    assert members == [("instructor", "instructors")]


@cheaply
def test_an_interruption_between_file_and_account_is_mended(
    settings: Settings, progress: Progress
) -> None:
    settings.hub_folder.mkdir(parents=True)
    accounts.write_passwords(
        accounts.password_file(settings), {"ada": ("abcd-efgh-jkmn-pqrs", "participant")}
    )
    accounts.ensure(settings, progress, (accounts.Person("ada", "participant"),))
    assert bcrypt.checkpw(b"abcd-efgh-jkmn-pqrs", stored(settings)["ada"])


@cheaply
def test_a_lost_file_does_not_reset_anyones_password(
    settings: Settings, progress: Progress
) -> None:
    accounts.ensure(settings, progress, (accounts.Person("ada", "participant"),))
    before = stored(settings)
    accounts.password_file(settings).unlink()
    accounts.ensure(settings, progress, (accounts.Person("ada", "participant"),))
    assert stored(settings) == before


@cheaply
def test_who_forgot_gets_a_new_one_and_the_others_keep_theirs(
    settings: Settings, progress: Progress
) -> None:
    people = (accounts.Person("ada", "participant"), accounts.Person("kim", "instructor"))
    accounts.ensure(settings, progress, people)
    before = in_file(settings)
    accounts.renew(settings, ["kim"])
    after = in_file(settings)
    assert after["ada"] == before["ada"]
    assert after["kim"][0] != before["kim"][0] and after["kim"][1] == "instructor"
    assert accounts.still_first(settings, ["ada", "kim"]) == {
        name: password for name, (password, _) in after.items()
    }
    with pytest.raises(SetupError, match="no account bob"):
        accounts.renew(settings, ["ada", "bob"])
    assert in_file(settings) == after


@cheaply
def test_a_password_that_was_changed_is_no_first_password_any_more(
    settings: Settings, progress: Progress
) -> None:
    accounts.ensure(settings, progress, (accounts.Person("ada", "participant"),))
    with sqlite3.connect(settings.hub_folder / "jupyterhub.sqlite") as database:
        database.execute(
            "update users_info set password = ?", (bcrypt.hashpw(b"my own", bcrypt.gensalt(4)),)
        )
    assert accounts.still_first(settings, ["ada", "nobody"]) == {}


def test_passwords_are_random_and_without_look_alikes() -> None:
    many = {accounts.new_password() for _ in range(200)}
    assert len(many) == 200
    assert all(re.fullmatch(r"([a-hjkmnp-z2-9]{4}-){3}[a-hjkmnp-z2-9]{4}", one) for one in many)


@pytest.mark.parametrize("name", ["../ada", "ada/lin", "1ada", "-x", "ä", "a" * 33, "a;b"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    with pytest.raises(SetupError, match="cannot be an account's name"):
        accounts.parse_names(f"ada {name}")


def test_names_may_be_separated_by_blanks_or_commas() -> None:
    assert accounts.parse_names(" Ada, lin  ada\tkim.o ") == ["ada", "lin", "kim.o"]
    assert accounts.parse_names("") == []
