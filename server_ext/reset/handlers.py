"""Reset environment over REST: `<base_url>/gpucamp/reset`.

GET: what a reset would take away. POST {"undo": false}: ask the service for it; the answer names
the page that shows how it goes, since this server and everything it could say ends with it.

Guarantee: only the user that the server belongs to; someone it was shared with gets a 403.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from typing import Any

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..ddp.handlers import manager_of
from ..ddp.machine import kernel_python
from ..errors import BadRequest
from ..handlers import GpucampHandler
from ..i18n import N_
from ..service_client import ServiceClient
from .client import environment, reset
from .packages import base_folder, changed_packages, environment_folders


class ResetHandler(GpucampHandler):
    """See the module."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        client = self._client()
        found, packages, runs = await asyncio.gather(
            environment(client),
            asyncio.to_thread(self._changed_packages),
            manager_of(self.settings, self.serverapp.root_dir, self.log).alive(),
        )
        self.reply(
            {
                "generation": found.get("generation"),
                "can_undo": found.get("can_undo") is True,
                "changed_packages": packages,
                "running_runs": len(runs),
                "kernels": len(self.kernel_manager.list_kernel_ids()),
            }
        )

    @web.authenticated
    @authorized
    async def post(self) -> None:
        client = self._client()
        body = self.json_object()
        undo = body.get("undo", False)
        if set(body) - {"undo"} or not isinstance(undo, bool):
            raise BadRequest(N_('The request must be {"undo": true} or {"undo": false}.'))
        self.reply({"progress_url": await reset(client, undo=undo)}, status=202)

    def _client(self) -> ServiceClient:
        client = ServiceClient.from_environment(os.environ, self.locale_name.replace("_", "-"))
        client.refuse_others(
            self.current_user,
            N_("Only {user}, whose server this is, may reset its environment."),
        )
        return client

    def _changed_packages(self) -> list[dict[str, Any]]:
        folders = environment_folders(kernel_python(self.kernel_spec_manager))
        return [asdict(package) for package in changed_packages(base_folder(), folders)]


handlers: list[tuple[str, type[GpucampHandler]]] = [(r"/gpucamp/reset", ResetHandler)]
