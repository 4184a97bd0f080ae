"""The accounts in the hub's database: `python -m hub_ext.accounts DATABASE_URL < request.json`.

The host set-up (which runs without the hub's packages) writes accounts through this.

Guarantees: one transaction per call; an account that exists is never changed unless `replace` asks
for it; only bcrypt hashes are stored. Runs before the first start of the hub as well as beside it.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import bcrypt
from jupyterhub import orm
from jupyterhub.dbutil import upgrade_if_needed
from nativeauthenticator.orm import UserInfo
from sqlalchemy.orm import Session

from .sign_in import matches


@dataclass(frozen=True)
class Account:
    """One person; `groups` are the hub groups that the person joins."""

    name: str
    password: str
    groups: tuple[str, ...] = ()


def open_session(url: str) -> Session:
    """A session on the hub's database; creates the hub's tables, or brings them up to date."""
    upgrade_if_needed(url, log=logging.getLogger(__name__))
    session: Session = orm.new_session_factory(url)()
    return session


def existing(session: Session) -> set[str]:
    """Names of all accounts that have a password."""
    return {account.username for account in UserInfo.all_users(session)}


def write(session: Session, accounts: Iterable[Account], *, replace: bool = False) -> list[str]:
    """Create accounts; with `replace`, set passwords of existing ones. The names written."""
    written = []
    for account in accounts:
        kept = UserInfo.find(session, account.name)
        if kept is None or replace:
            hashed = bcrypt.hashpw(account.password.encode(), bcrypt.gensalt())
            if kept is None:
                session.add(UserInfo(username=account.name, password=hashed, is_authorized=True))
            else:
                kept.password = hashed
            written.append(account.name)
        _join(session, account)
    session.commit()
    return written


def _join(session: Session, account: Account) -> None:
    if not account.groups:
        return
    user = orm.User.find(session, account.name)
    if user is None:
        user = orm.User(name=account.name)
        session.add(user)
    for name in account.groups:
        group = orm.Group.find(session, name)
        if group is None:
            group = orm.Group(name=name)
            session.add(group)
        if group not in user.groups:
            group.users.append(user)


def unchanged(session: Session, passwords: dict[str, str]) -> list[str]:
    """The names whose password is still this one."""
    found = []
    for name, password in passwords.items():
        account = UserInfo.find(session, name)
        if account is not None and matches(password, account.password):
            found.append(name)
    return found


def answer(session: Session, request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request of the set-up: `existing`, `write` or `unchanged`."""
    if request["do"] == "write":
        accounts = [
            Account(item["name"], item["password"], tuple(item.get("groups", ())))
            for item in request["accounts"]
        ]
        return {"written": write(session, accounts, replace=bool(request.get("replace")))}
    if request["do"] == "unchanged":
        return {"unchanged": unchanged(session, request["passwords"])}
    return {"existing": sorted(existing(session))}


def main() -> None:
    """Read a request from standard input, write the answer to standard output, as JSON."""
    session = open_session(sys.argv[1])
    try:
        json.dump(answer(session, json.load(sys.stdin)), sys.stdout)
    finally:
        session.close()


if __name__ == "__main__":
    main()
