"""What was chosen to be installed again, over REST: `<base_url>/gpucamp/reset/again`.

GET: how far it is. DELETE: forget it. Only the user that the server belongs to.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.auth.decorator import authorized
from jupyter_server.serverapp import ServerApp
from tornado import web

from ..errors import Conflict
from ..handlers import GpucampHandler
from ..i18n import N_
from . import again
from .again import Again
from .again_files import AgainFiles
from .environment import environment_prefix
from .owners import OwnersHandler

_AGAIN = "gpucamp_reset_again"
_TASK = "gpucamp_reset_again_task"


class AgainHandler(OwnersHandler):
    """See the module."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{state, packages: [{name, version, state, why}]}."""
        self.client()
        self.reply(await asyncio.to_thread(again_of(self.serverapp).tell, self.gettext))

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """What is not begun yet is not installed then."""
        self.client()
        work = again_of(self.serverapp)
        if work.installs:
            raise Conflict(N_("Packages are being installed: wait until that is done."))
        try:
            await asyncio.to_thread(work.files.forget)
        except OSError as error:
            raise Conflict(
                N_("{name} cannot be written: {reason}."),
                name=error.filename or str(work.files.folder),
                reason=error.strerror or str(error),
            ) from error
        self.set_status(204)
        self.finish()


def again_of(app: ServerApp) -> Again:
    """This server's one."""
    settings = app.web_app.settings
    if _AGAIN not in settings:
        work = Path(app.root_dir)
        generation = os.environ.get("GPUCAMP_GENERATION", "")
        settings[_AGAIN] = Again(
            AgainFiles(work / ".gpucamp", os.environ.get("JUPYTERHUB_SERVER_NAME", "")),
            work,
            lambda: _python(app.kernel_spec_manager),
            int(generation) if generation.isascii() and generation.isdigit() else None,
            app.log,
        )
    found: Again = settings[_AGAIN]
    return found


def start(app: ServerApp) -> None:
    """Begins in a while, without keeping the server."""
    app.web_app.settings[_TASK] = asyncio.create_task(_run_later(app))


async def stop(settings: dict[str, Any]) -> None:
    """Ends it; the next server goes on."""
    task = settings.pop(_TASK, None)
    if task is not None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _run_later(app: ServerApp) -> None:
    await asyncio.sleep(again.DELAY_SECONDS)
    try:
        await again_of(app).run()
    except Exception:  # the server is worth more
        app.log.exception("What was chosen to be installed again could not be")


def _python(specs: KernelSpecManager | None) -> Path | None:
    """The environment's own, if it runs; never this server's."""
    prefix = environment_prefix(specs or KernelSpecManager())
    python = prefix / "bin" / "python"
    usable = os.access(python, os.X_OK) and os.path.realpath(prefix) != os.path.realpath(sys.prefix)
    return python if usable else None


handlers: list[tuple[str, type[GpucampHandler]]] = [(r"/gpucamp/reset/again", AgainHandler)]
