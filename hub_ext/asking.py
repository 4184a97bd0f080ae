"""What a user may ask of the spawner: their options checked, their form shown, in their language.

What this module guarantees: whatever way options come (form, query, REST, an earlier start), they
are checked against the same facts of the same user; options that were refused are not kept for the
next start, and the form shows what was filled in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import i18n, options, spawn_form
from .errors import BadRequest
from .hub_side import HubSide
from .models import Request, Snapshot
from .options import Asker, Limits
from .usage import QuotaUse, quota_use

if TYPE_CHECKING:
    from .spawner import GPUDockerSpawner


class Asking:
    """The options and the form of one spawner."""

    def __init__(self, spawner: GPUDockerSpawner) -> None:
        self._spawner = spawner
        self._language = ""  # of whoever asked last

    async def check(self, side: HubSide, user_options: object) -> Request:
        """The request that these options mean. Raises BadRequest, LedgerUnavailable."""
        try:
            request = options.request_from(user_options, await self._asker(side))
        except BadRequest:
            self._spawner.orm_spawner.user_options = {}  # JupyterHub stored them; its stop commits
            raise
        side.refused_forms.pop(self._spawner.user.name, None)
        return request

    async def from_form(self, side: HubSide, form: Mapping[str, Any]) -> dict[str, object]:
        """A submitted form as user_options that can be granted.

        Raises BadRequest, LedgerUnavailable; the form is shown again then, as it was filled in.
        """
        await self._spawner.apply_group_overrides()  # as JupyterHub does later, too
        filled_in = {name: value for name, value in form.items() if name != "_xsrf"}
        try:
            said = options.options_from_form(filled_in)
            options.request_from(said, await self._asker(side))
        except BadRequest:
            side.refused_forms[self._spawner.user.name] = filled_in
            raise
        return said

    async def form(self, side: HubSide) -> str:
        """The form's HTML. Raises LedgerUnavailable."""
        await self._spawner.apply_group_overrides()
        asker = await self._asker(side)
        kept = (
            side.refused_forms.pop(asker.user, None) or self._spawner.orm_spawner.user_options or {}
        )
        facts = await asyncio.to_thread(spawn_form.facts_of, asker)
        return spawn_form.render(facts, spawn_form.chosen_of(asker, facts, kept))

    def speak_as_asked(self) -> None:
        """Use the language of the browser that asks for the page or the start.

        After a start that failed JupyterHub shows the form again, without the request.
        """
        request = getattr(getattr(self._spawner, "handler", None), "request", None)
        if request is not None:
            accepted = request.headers.get("Accept-Language", "")
            self._language = i18n.choose_language(accepted)
        if self._language:
            i18n.set_language(self._language)

    async def _asker(self, side: HubSide) -> Asker:
        spawner = self._spawner
        groups = tuple(sorted(group.name for group in spawner.user.groups))
        snapshot = (await side.line.look()).snapshot
        return Asker(
            user=spawner.user.name,
            server=spawner.name,
            groups=groups,
            limits=Limits(spawner.max_gpus, spawner.default_gpus),
            snapshot=snapshot,
            use=await asyncio.to_thread(_use, side, spawner.user.name, groups, snapshot),
        )


def _use(side: HubSide, user: str, groups: tuple[str, ...], snapshot: Snapshot) -> QuotaUse:
    """What the user and their groups have used, as far as a limit asks for it."""
    return quota_use(
        snapshot.policy,
        {user: groups},
        snapshot.leases,
        snapshot.devices,
        snapshot.now,
        device_seconds=side.ledger.device_seconds_of,
        group_device_seconds=side.ledger.group_device_seconds,
    )
