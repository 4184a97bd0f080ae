"""REST: what the host says of a server's devices, for GPU doctor and for those who help.

Guarantee: it is for who may see the server; others are neither named nor numbered in it.
"""

from __future__ import annotations

from ..scopes import ENVIRONMENT_READ
from .api_base import ApiHandler
from .auth import requires
from .host_view import host_view


class HostViewHandler(ApiHandler):
    @requires(ENVIRONMENT_READ)
    async def get(self, user_name: str, server_name: str = "") -> None:
        self.answer(await host_view(self.service, user_name, server_name))
