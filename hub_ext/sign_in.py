"""Sign-in with an account and a password per person.

Guarantees:
- Nobody without an account gets in, and nobody can make one: there is no sign-up page, and an
  account without a password does not exist.
- Nobody signs in as anyone else: the password is compared with that person's bcrypt hash, in a
  thread, so that fifty people at once do not stop the hub.
- An unknown name takes as long to refuse as a wrong password.
- People change their own password only with the old one; admins may set anyone's.

NativeAuthenticator keeps the accounts, the change-password pages and the lock after many failures.
Its login page needs what JupyterHub 6 removed (statsd), so the hub's own is used.
"""

from __future__ import annotations

import asyncio
from typing import Any

import bcrypt
from jupyterhub.handlers.login import LoginHandler
from nativeauthenticator import NativeAuthenticator
from nativeauthenticator.handlers import ChangePasswordAdminHandler, ChangePasswordHandler
from tornado import web
from traitlets import default

from . import turnstile

# bcrypt refuses longer ones (with an exception) rather than ignoring their end
LONGEST_PASSWORD_BYTES = 72

# A valid hash that no password is kept for: what an unknown name is compared with.
_NOBODY = b"$2b$12$C6UzMDM.H6dfI/f/IKcEeO7ZBpPSnBGPMYqYfiGJjYcUTiAjXxZ2q"


def is_usable_length(password: str) -> bool:
    """Whether bcrypt can hash all of the password."""
    return len(password.encode()) <= LONGEST_PASSWORD_BYTES


def matches(password: str, stored: bytes) -> bool:
    """Whether the bcrypt hash was made of the password; False for one that is too long."""
    if not is_usable_length(password):
        return False
    return bcrypt.checkpw(password.encode(), stored)


class ChangePassword(ChangePasswordHandler):
    """The page on which people change their own password."""

    @web.authenticated
    async def post(self) -> None:
        """Change it, if the old one is right and the account is kept here."""
        for name in ("old_password", "new_password"):
            if not is_usable_length(self.get_body_argument(name, "", strip=False)):
                raise web.HTTPError(
                    400, f"A password may have at most {LONGEST_PASSWORD_BYTES} bytes."
                )
        if self.authenticator.get_user(self.current_user.name) is None:
            raise web.HTTPError(404, "This account has no password here; ask an admin.")
        await super().post()


class SignIn(NativeAuthenticator):
    """Accounts that an admin made, with a password each."""

    @default("allow_all")
    def _allow_all(self) -> bool:
        # everyone who has an account, and only they: the account list is the allow list
        return True

    @default("enable_signup")
    def _enable_signup(self) -> bool:
        return False

    @default("minimum_password_length")
    def _minimum_password_length(self) -> int:
        return 10

    @default("check_common_password")
    def _check_common_password(self) -> bool:
        return True

    @default("allowed_failed_logins")
    def _allowed_failed_logins(self) -> int:
        return 20

    @default("seconds_before_next_try")
    def _seconds_before_next_try(self) -> int:
        return 60

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """The normalised name of the account whose password this is, or None."""
        username = self.normalize_username(data["username"])
        if self.allowed_failed_logins and self.is_blocked(username):
            return None
        account = self.get_user(username)
        usable = account is not None and account.is_authorized
        stored = account.password if usable else _NOBODY
        right = await asyncio.to_thread(matches, data["password"], stored)
        if usable and right:
            self.successful_login(username)
            return username
        if account is not None:
            self.add_login_attempt(username)
        return None

    def is_password_strong(self, password: str) -> bool:
        """Long enough, not too long to hash, and not on the list of common ones."""
        return is_usable_length(password) and bool(super().is_password_strong(password))

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Login and change of password; no sign-up, no page that authorises by a GET.

        Starts of servers go through the turnstile.
        """
        return [
            (r"/login", LoginHandler),
            (r"/change-password", ChangePassword),
            (r"/change-password/([^/]+)", ChangePasswordAdminHandler),
            *turnstile.HANDLERS,
        ]
