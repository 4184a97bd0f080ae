"""GET gpucamp/ddp/kernels: the memory that the user's kernels hold, before a run is launched.

Ending one is Jupyter Server's own business: DELETE api/kernels/<id> or api/sessions/<id>.
"""

from __future__ import annotations

import asyncio
import os

from jupyter_server.auth.decorator import authorized
from tornado import web

from ..doctor.running_kernels import RunningKernels
from ..handlers import GpucampHandler
from .kernel_memory import is_much, memory_limit, read_kernels


class KernelsHandler(GpucampHandler):
    """The kernels of this server, and whether they hold much."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """See the module."""
        managers = ("kernel_manager", "session_manager", "kernel_spec_manager")
        kernels = RunningKernels(*(self.settings[name] for name in managers))
        found, limit = await asyncio.gather(
            read_kernels(kernels, os.environ), asyncio.to_thread(memory_limit)
        )
        gpus = bool(os.environ.get("GPUCAMP_DEVICES")) and (
            os.environ.get("GPUCAMP_SIMULATED", "0") != "1"
        )
        self.reply(
            {
                "known": found is not None,
                "much": is_much(found or (), limit, gpus=gpus),
                "memory_limit_bytes": limit,
                "kernels": [one.view() for one in found or ()],
            }
        )


handlers: list[tuple[str, type[GpucampHandler]]] = [(r"/gpucamp/ddp/kernels", KernelsHandler)]
