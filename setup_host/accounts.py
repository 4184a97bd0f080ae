"""First passwords, one per person, and the accounts that they open.

Guarantees: passwords are random and different, made at the first run and never fixed; the file that
holds them is readable by its owner only, from its first byte on; a password is in the file before
the account exists, so that an interruption never leaves an account that nobody can open.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .environment import tool_environ
from .errors import SetupError
from .progress import Progress
from .settings import Settings

# without characters that look alike
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
_HEADER = "# First passwords. Whoever has changed theirs is not let in by these any more.\n"


@dataclass(frozen=True)
class Person:
    """Who gets an account; `role` is admin, instructor or participant."""

    name: str
    role: str

    @property
    def groups(self) -> list[str]:
        return ["instructors"] if self.role == "instructor" else []


FIRST_PEOPLE = (
    Person("admin", "admin"),
    Person("instructor", "instructor"),
    Person("participant1", "participant"),
    Person("participant2", "participant"),
)


def new_password() -> str:
    """A password of 79 random bits in four groups."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(4))


def parse_names(text: str) -> list[str]:
    """Names separated by blanks or commas. Raises SetupError for one that cannot be a name."""
    names = [name.lower() for name in text.replace(",", " ").split()]
    for name in names:
        if not _NAME.fullmatch(name):
            raise SetupError(
                f"{name!r} cannot be an account's name.",
                "use a letter, then letters, digits, '.', '_' or '-', 32 in all.",
            )
    return list(dict.fromkeys(names))


def password_file(settings: Settings) -> Path:
    return settings.hub_folder / "first-passwords.txt"


def read_passwords(path: Path) -> dict[str, tuple[str, str]]:
    """name -> (password, role); empty where there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return {row[0]: (row[1], row[2]) for row in rows if len(row) == 3}


def write_passwords(path: Path, passwords: dict[str, tuple[str, str]]) -> None:
    """Replace the file in one step; mode 600."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_HEADER)
        for name, (password, role) in passwords.items():
            file.write(f"{name:<20} {password} {role}\n")
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def ensure(
    settings: Settings, progress: Progress, people: tuple[Person, ...] = FIRST_PEOPLE
) -> list[str]:
    """Give an account to those who have none; their names. Raises SetupError."""
    have = set(_ask(settings, {"do": "existing"})["existing"])
    missing = [person for person in people if person.name not in have]
    if not missing:
        return []
    _create(settings, missing, replace=False)
    progress.say(
        f"* accounts made: {', '.join(person.name for person in missing)} "
        f"(first passwords in {password_file(settings)})"
    )
    return [person.name for person in missing]


def renew(settings: Settings, names: list[str]) -> None:
    """Give people who forgot theirs a new first password. Raises SetupError for unknown ones."""
    have = set(_ask(settings, {"do": "existing"})["existing"])
    unknown = [name for name in names if name not in have]
    if unknown:
        raise SetupError(
            f"There is no account {', '.join(unknown)}.", "make it: `make accounts NAMES=...`."
        )
    roles = {name: role for name, (_, role) in read_passwords(password_file(settings)).items()}
    people = [Person(name, roles.get(name, "participant")) for name in names]
    _create(settings, people, replace=True)


def _create(settings: Settings, people: list[Person], *, replace: bool) -> None:
    path = password_file(settings)
    passwords = read_passwords(path)
    for person in people:
        if replace or person.name not in passwords:
            passwords[person.name] = (new_password(), person.role)
    write_passwords(path, passwords)
    accounts = [
        {
            "name": person.name,
            "password": passwords[person.name][0],
            "groups": person.groups,
        }
        for person in people
    ]
    _ask(settings, {"do": "write", "accounts": accounts, "replace": replace})


def still_first(settings: Settings, names: list[str]) -> dict[str, str]:
    """name -> first password, of those whose first password still opens the account."""
    passwords = read_passwords(password_file(settings))
    asked = {name: passwords[name][0] for name in names if name in passwords}
    if not asked:
        return {}
    same = _ask(settings, {"do": "unchanged", "passwords": asked})["unchanged"]
    return {name: asked[name] for name in same}


def _ask(settings: Settings, request: dict[str, Any]) -> dict[str, Any]:
    """Ask the hub's side (in the virtual environment); passwords go through a pipe only."""
    settings.hub_folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    url = f"sqlite:///{settings.hub_folder}/jupyterhub.sqlite"
    old_mask = os.umask(0o077)
    try:
        result = subprocess.run(
            [settings.python, "-m", "hub_ext.accounts", url],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=120,
            env=tool_environ(settings, os.environ),
            cwd=settings.root,
        )
    finally:
        os.umask(old_mask)
    if result.returncode != 0:
        raise SetupError(
            "The hub's account database cannot be used.",
            f"see the cause above; the database is {url[10:]}.",
            "\n".join(result.stderr.strip().splitlines()[-6:]),
        )
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer
