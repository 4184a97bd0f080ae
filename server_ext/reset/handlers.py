"""Reset environment over REST: `<base_url>/gpucamp/reset`.

GET: what a reset would take away. POST {"undo": false}: ask the service for it; the answer names
the page that shows how it goes, since this server and everything it could say ends with it.

Guarantees: only the user that the server belongs to; someone it was shared with gets a 403. An
answer never waits for a wrecked environment. What to install again, and JupyterLab's layout, are
written down before the service is asked, and are not when the service refuses.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.serverapp import ServerApp
from tornado import web

from ..ddp.handlers import manager_of
from ..errors import BadRequest, GpucampServerError, ServiceUnavailable
from ..handlers import GpucampHandler
from ..i18n import N_
from ..service_client import ServiceClient
from . import again_handlers, here_handlers, layout, preview
from .again_files import AgainFiles
from .client import environment, reset
from .owners import OwnersHandler

LIMITS = preview.Limits()
LOOK_SECONDS = 10.0  # a disk that does not answer is not waited for
LONGEST_REASON = 500
_LOOK = "gpucamp_reset_look"
_ASKING = "gpucamp_reset_asking"
_KEYS = frozenset({"undo", "generation", "again", "reason"})


class ResetHandler(OwnersHandler):
    """See the module."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        client = self.client()
        found, seen, runs = await asyncio.gather(
            environment(client),
            self._look(),
            manager_of(self.settings, self.serverapp.root_dir, self.log).alive(),
        )
        undo = found.get("undo")
        self.reply(
            {
                "generation": found.get("generation"),
                "can_undo": found.get("can_undo") is True,
                "undo": undo if isinstance(undo, list) else [],
                **seen,
                "running_runs": len(runs),
                "kernels": len(self.kernel_manager.list_kernel_ids()),
            }
        )

    @web.authenticated
    @authorized
    async def post(self) -> None:
        client = self.client()
        undo, generation, again, reason = _wish(self.json_object())
        files = again_handlers.again_of(self.serverapp).files
        # one after another: what one has written down is not taken back by another's refusal
        async with self.settings.setdefault(_ASKING, asyncio.Lock()):
            before = await asyncio.to_thread(self._write_down, files, again)
            carried = await asyncio.to_thread(layout.carry, files.folder, os.environ)
            try:
                progress = await reset(client, undo=undo, generation=generation, reason=reason)
            except GpucampServerError as error:
                changed = bool(again) or before is not None
                if (changed or carried) and await _nothing_began(client, error):
                    await asyncio.to_thread(layout.drop, files.folder, os.environ)
                    if changed:
                        await asyncio.to_thread(files.put_back, before)
                raise
        self.reply({"progress_url": progress}, status=202)

    async def _look(self) -> dict[str, Any]:
        """What preview.look says; one look at a time serves all who ask."""
        task = self.settings.get(_LOOK)
        if task is None or task.done():
            task = asyncio.create_task(
                asyncio.to_thread(lambda: preview.look(self.place(), LIMITS))
            )
            self.settings[_LOOK] = task
        done, _ = await asyncio.wait([task], timeout=LOOK_SECONDS)
        if not done:
            return dict(preview.NOTHING_KNOWN)
        seen: dict[str, Any] = task.result()
        return seen

    def _write_down(self, files: AgainFiles, again: list[str]) -> bytes | None:
        lines = preview.again_lines(self.place()) if again else {}
        unknown = next((name for name in again if name not in lines), None)
        if unknown is not None:
            raise BadRequest(
                N_(
                    "{name} cannot be installed again: it is not among the packages that you "
                    "added or changed, or nothing says where it came from."
                ),
                name=unknown[:100],
            )
        generation = os.environ.get("GPUCAMP_GENERATION", "")
        return files.put(
            [lines[name] for name in sorted(set(again))],
            os.environ.get("GPUCAMP_IMAGE", ""),
            int(generation) if generation.isascii() and generation.isdigit() else None,
        )


def _wish(body: dict[str, Any]) -> tuple[bool, int | None, list[str], str]:
    """undo, generation, again, reason of a request. Raises BadRequest."""
    undo, generation = body.get("undo", False), body.get("generation")
    again, reason = body.get("again", []), body.get("reason", "")
    if (
        set(body) - _KEYS
        or not isinstance(undo, bool)
        or not (generation is None or (type(generation) is int and 0 < generation < 10**9))
        or not isinstance(again, list)
        or not all(isinstance(name, str) for name in again)
        or len(again) > 1000
        or not isinstance(reason, str)
        or len(reason) > LONGEST_REASON
    ):
        raise BadRequest(
            N_(
                'The request must be {{"undo": true}} or {{"undo": false}}, with "generation" '
                '(a number, for an undo), "again" (names of packages) and "reason" (a text of at '
                "most {count} characters) as you like."
            ),
            count=LONGEST_REASON,
        )
    if generation is not None and not undo:
        raise BadRequest(N_("Only an undo can name a generation: a reset makes a new one."))
    return undo, generation, again, reason.strip()


async def _nothing_began(client: ServiceClient, error: GpucampServerError) -> bool:
    """Whether the service refused, or says, after an answer that was lost, that it does nothing."""
    if not isinstance(error, ServiceUnavailable):
        return True
    try:
        operation = (await environment(client)).get("operation")
    except GpucampServerError:
        return False
    step = operation.get("step") if isinstance(operation, dict) else None
    return step in (None, "done", "failed")


IMAGE = here_handlers.IMAGE


def start(app: ServerApp) -> None:
    """The server runs: what was chosen before a reset is installed, what a kill left is deleted."""
    again_handlers.start(app)
    here_handlers.clear(app)


def installs(app: ServerApp) -> bool:
    """Whether packages are being installed again."""
    return again_handlers.again_of(app).installs


async def stop(settings: dict[str, Any]) -> None:
    """The server ends: what works here gives up."""
    here_handlers.ends(settings).set()
    await again_handlers.stop(settings)


handlers: list[tuple[str, type[GpucampHandler]]] = [
    (r"/gpucamp/reset", ResetHandler),
    *again_handlers.handlers,
    *here_handlers.handlers,
]
