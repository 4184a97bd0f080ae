"""Who asks, and may they: JupyterHub authenticates, its scopes authorise.

Guarantees:
- Nobody unknown to JupyterHub, and nobody without `access:services` for this service, gets past
  `prepare`. A cookie counts only with a right XSRF token (navigations apart); a token in the
  Authorization header needs none.
- Every verb of a handler carries `@requires(scope)`, which is checked against the resource that
  the handler names. Without the scope in any form: 403. With it for others only: 404, as for a
  resource that does not exist, so nothing is learned about others.
- Filters `!user=`, `!server=` and `!group=` are JupyterHub's own, judged by its own code.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jupyterhub._xsrf_utils import _needs_check_xsrf
from jupyterhub.scopes import Scope, check_scope_filter, parse_scopes
from jupyterhub.services.auth import HubOAuthenticated, UserNotAllowed
from tornado.web import HTTPError

from ..errors import HubUnavailable, NotFound
from ..i18n import _

if TYPE_CHECKING:
    from .parts import Service

Verb = Callable[..., Awaitable[None]]

# JupyterHub 6 makes no others
SERVER_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")


class Forbidden(Exception):
    """The caller lacks a scope altogether; the message names it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """A user's server, on which a scope is judged."""

    user: str
    server: str


@dataclass(frozen=True, slots=True)
class Group:
    """All users of a group, on whom a scope is judged as a whole."""

    name: str


@dataclass(frozen=True, slots=True)
class Reach:
    """Whom a scope is held for: all, or these users and the members of these groups."""

    all: bool = False
    users: frozenset[str] = frozenset()
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever JupyterHub says is asking."""

    name: str
    kind: str  # "user" or "service"
    scopes: frozenset[str]

    def holds(self, scope: str) -> bool:
        """True if the scope is held in some form, perhaps for some resources only."""
        return scope in parse_scopes(self.scopes)

    def holds_for_all(self, scope: str) -> bool:
        """True if the scope is held without a filter."""
        return parse_scopes(self.scopes).get(scope) is Scope.ALL

    def filters_by_group(self, scope: str) -> bool:
        """True if the groups of the resource's user matter."""
        found = parse_scopes(self.scopes).get(scope)
        return found is not None and found is not Scope.ALL and "group" in found

    def reach(self, scope: str) -> Reach:
        """Which users the scope is held for as a whole; a single server of somebody is not."""
        found = parse_scopes(self.scopes).get(scope)
        if found is None or found is Scope.ALL:
            return Reach(all=found is Scope.ALL)
        return Reach(
            users=frozenset(found.get("user", ())), groups=frozenset(found.get("group", ()))
        )

    def may_for_group(self, scope: str, group: str) -> bool:
        """True if the scope is held for everyone, or for everyone in this group."""
        found = parse_scopes(self.scopes).get(scope)
        if found is None or found is Scope.ALL:
            return found is Scope.ALL
        return group in found.get("group", ())

    def may(self, scope: str, resource: Resource, groups: Collection[str] = ()) -> bool:
        """True if the scope is held for this server, whose user is in `groups`."""
        found = parse_scopes(self.scopes).get(scope)
        # check_scope_filter compares the bare server name, too: "ada/" of someone else must not
        # pass for the server filter "ada/" (no name of user or server holds a slash)
        if found is None or "/" in resource.server or "/" in resource.user:
            return False
        if found is Scope.ALL:
            return True  # a list asks for hundreds of servers
        user = _OrmUser(resource.user, tuple(_OrmGroup(name) for name in groups))
        return bool(check_scope_filter(found, _OrmServer(resource.server, user), "server"))


# The shapes of JupyterHub's ORM objects that check_scope_filter looks at.
@dataclass(frozen=True, slots=True)
class _OrmGroup:
    name: str


@dataclass(frozen=True, slots=True)
class _OrmUser:
    name: str
    groups: tuple[_OrmGroup, ...]


@dataclass(frozen=True, slots=True)
class _OrmServer:
    name: str
    user: _OrmUser


def requires(scope: str | None) -> Callable[[Verb], Verb]:
    """Let the verb run only for a caller who holds `scope` for the handler's resource.

    None asks for no scope beyond access to the service; the verb itself shows only what the
    caller may see.
    """

    def decorate(verb: Verb) -> Verb:
        @functools.wraps(verb)
        async def checked(self: AuthenticatedHandler, *args: str, **kwargs: str) -> None:
            # no database keeps such a name, and some call it an error of theirs
            if any("\0" in each for each in (*args, *kwargs.values())):
                raise NotFound(_("There is nothing here."))
            if scope is not None:
                self.require_held(scope)
                await self.authorize(scope, await self.resource(**kwargs))
            await self.run(functools.partial(verb, self, *args, **kwargs))

        checked.required_scope = scope or "access:services"  # type: ignore[attr-defined]  # for tests
        return checked

    return decorate


class AuthenticatedHandler(HubOAuthenticated):
    """Mixin before tornado's RequestHandler: who asks, without blocking the event loop."""

    settings: dict[str, Any]
    _hub_auth_user_cache: dict[str, Any] | None  # what get_current_user answers

    @property
    def service(self) -> Service:
        """The running service."""
        service: Service = self.settings["service"]
        return service

    @property
    def caller(self) -> Caller:
        """Whoever asks; only after `identify`."""
        model = self.current_user
        return Caller(str(model["name"]), str(model["kind"]), frozenset(model["scopes"]))

    async def identify(self) -> bool:
        """Ask JupyterHub who this is. True if they may use this service.

        Raises Forbidden without the right XSRF token or without access to this service, and
        HubUnavailable if the hub is silent.
        """
        try:
            model = await self.hub_auth.get_user(self, sync=False)
        except HTTPError as error:
            raise HubUnavailable("JupyterHub did not say who is asking.") from error
        if model is None:
            if self._cookie_was_refused():
                self._require_xsrf()
            return False
        try:
            self._hub_auth_user_cache = self.check_hub_user(model)
        except UserNotAllowed as error:
            raise Forbidden(_("You have no access to this service; ask an admin.")) from error
        return True

    async def run(self, verb: Callable[[], Awaitable[None]]) -> None:
        """Do what an authorised caller asked for."""
        await verb()

    def _require_xsrf(self) -> None:
        try:
            self.check_xsrf_cookie()
        except HTTPError as error:
            raise Forbidden(
                _("This page is out of date, or the request came from elsewhere. Reload the page.")
            ) from error

    def _cookie_was_refused(self) -> bool:
        return bool(self.hub_auth._get_token_cookie(self)) and _needs_check_xsrf(self)

    async def resource(self, **kwargs: str) -> Resource | Group | None:
        """What the request is about; None if about the service as a whole.

        Raises NotFound for a name that no server can have.
        """
        server = kwargs.get("server_name", "")
        if server and not SERVER_NAME.fullmatch(server):
            raise NotFound(_("There is no such server."))
        if "user_name" not in kwargs:
            return None
        return Resource(kwargs["user_name"], server)

    def require_held(self, scope: str) -> None:
        """Raises Forbidden without the scope in any form."""
        if not self.caller.holds(scope):
            raise Forbidden(
                _("Your account may not do this: it needs the scope {scope}.").format(scope=scope)
            )

    async def authorize(self, scope: str, resource: Resource | Group | None) -> None:
        """Raises Forbidden, or NotFound for a resource of others."""
        if isinstance(resource, Group):
            if not self.caller.may_for_group(scope, resource.name):
                raise NotFound(_("There is no such group."))
        elif resource is None:
            if not self.caller.holds_for_all(scope):
                raise Forbidden(
                    _("Your account may not do this: it needs the scope {scope} for all.").format(
                        scope=scope
                    )
                )
        elif not await self.allows(scope, resource):
            raise NotFound(_("There is no such server."))

    async def allows_for_user(self, scope: str, user: str) -> bool:
        """Whether the caller holds the scope for a user as a whole, with all their servers."""
        reach = self.caller.reach(scope)
        if reach.all or user in reach.users:
            return True
        if not reach.groups:
            return False
        try:
            found = await self.service.hub.user(user)
        except NotFound:
            return False
        return not reach.groups.isdisjoint(found.groups)

    async def allows(self, scope: str, resource: Resource) -> bool:
        """Whether the caller holds the scope for this server."""
        caller = self.caller
        if caller.may(scope, resource):
            return True
        if not caller.filters_by_group(scope):
            return False
        try:
            owner = await self.service.hub.user(resource.user)
        except NotFound:
            return False
        return caller.may(scope, resource, owner.groups)
