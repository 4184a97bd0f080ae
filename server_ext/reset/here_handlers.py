"""What this server does itself, over REST below `<base_url>/gpucamp/reset/`.

- POST kernels: all kernels are restarted
- POST packages: what was installed is removed, then all kernels are restarted
- POST moves {"paths": [...]}: what was saved in the home goes to work/from-home; GET moves: how
  far what is moved now is

Guarantees: only the user that the server belongs to; what one item comes to does not keep the
others from theirs; what was begun is finished when the browser leaves.
"""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

from jupyter_server.auth.decorator import authorized
from jupyter_server.serverapp import ServerApp
from tornado import web

from ..errors import BadRequest, Conflict, GpucampServerError
from ..handlers import GpucampHandler
from ..i18n import N_
from .again_handlers import again_of
from .kernels import restart_all
from .moves import MoveProgress, Mover
from .owners import OwnersHandler
from .remove_packages import Remover

MOST_PATHS = 1000
IMAGE = "gpucamp_reset_image"  # in the server's settings: what app.image_root says
_REMOVING = "gpucamp_reset_removing"
_ENDS = "gpucamp_reset_ends"
_MOVING = "gpucamp_reset_moving"
_PROGRESS = "gpucamp_reset_move_progress"


def clear(app: ServerApp) -> None:
    """Deletes what moves and removals that were killed have left, without keeping the server."""
    home = Path.home()
    mover = Mover(home, Path(app.root_dir), lambda: False)
    remover = Remover(home, home)

    def work() -> None:
        mover.clear()
        remover.clear()

    threading.Thread(target=work, daemon=True).start()


def ends(settings: dict[str, Any]) -> threading.Event:
    """Is set when the server ends."""
    found: threading.Event = settings.setdefault(_ENDS, threading.Event())
    return found


class KernelsHandler(OwnersHandler):
    """See the module."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{restarted: [ids], failed: [ids]}."""
        self.client()
        self.empty_body()
        self.reply(await restart_all(self.kernel_manager))


class PackagesHandler(OwnersHandler):
    """See the module."""

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{removed: how many packages, kernels: as KernelsHandler answers}."""
        self.client()
        self.empty_body()
        if again_of(self.serverapp).installs:
            raise Conflict(N_("Packages are being installed: wait until that is done."))
        image: str = self.settings[IMAGE]
        remover = Remover(Path.home(), Path(image) / "environment")
        async with self.settings.setdefault(_REMOVING, asyncio.Lock()):
            try:
                removed = await asyncio.to_thread(remover.remove)
            finally:
                # nobody waits for it, the end of the server least of all
                threading.Thread(target=remover.clear, daemon=True).start()
        self.reply({"removed": removed, "kernels": await restart_all(self.kernel_manager)})


class MovesHandler(OwnersHandler):
    """See the module."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """{moving: {path, copied_bytes, total_bytes}}; null where nothing is moved. total_bytes is
        null where the folder has too much in it to be measured at once.
        """
        self.client()
        now = self._progress()
        moving = {"path": now.path, "copied_bytes": now.copied, "total_bytes": now.total}
        self.reply({"moving": moving if now.path else None})

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """{moved: [{path, to}], failed: [{path, why}]}; `to` is relative to the work folder."""
        self.client()
        paths = _paths(self.json_object())
        mover = self._mover()
        moved, failed = [], []
        async with self.settings.setdefault(_MOVING, asyncio.Lock()):
            await asyncio.to_thread(mover.clear)
            for path in paths:
                try:
                    moved.append({"path": path, "to": await asyncio.to_thread(mover.move, path)})
                except GpucampServerError as error:
                    failed.append({"path": path, "why": error.render(self.gettext)})
        self.reply({"moved": moved, "failed": failed})

    def _mover(self) -> Mover:
        home, work = os.path.realpath(Path.home()), Path(self.serverapp.root_dir)
        return Mover(Path(home), work, ends(self.settings).is_set, self._progress())

    def _progress(self) -> MoveProgress:
        found: MoveProgress = self.settings.setdefault(_PROGRESS, MoveProgress())
        return found


def _paths(body: dict[str, Any]) -> list[str]:
    paths = body.get("paths")
    if (
        set(body) != {"paths"}
        or not isinstance(paths, list)
        or len(paths) > MOST_PATHS
        or not all(isinstance(path, str) for path in paths)
    ):
        raise BadRequest(
            N_('The request must be {{"paths": […]}} with at most {count} names.'), count=MOST_PATHS
        )
    return list(dict.fromkeys(paths))


handlers: list[tuple[str, type[GpucampHandler]]] = [
    (r"/gpucamp/reset/kernels", KernelsHandler),
    (r"/gpucamp/reset/packages", PackagesHandler),
    (r"/gpucamp/reset/moves", MovesHandler),
]
