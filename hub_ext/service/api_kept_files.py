"""REST: files of an environment that was left, to look at and to copy.

Guarantees: for the user and admins only (a scope that instructors and servers do not have); what is
sent is for saving, never for showing: no file runs as a page of the service.
"""

from __future__ import annotations

from urllib.parse import quote

from ..errors import BadRequest
from ..i18n import _
from ..scopes import ENVIRONMENT_FILES
from .api_base import ApiHandler
from .auth import requires
from .handlers import ServiceHandler
from .kept_files import LONGEST_PATH

# below the pattern of a server
KEPT = r"/generations/(?P<generation_id>[1-9][0-9]{0,8})"


def path_argument(handler: ServiceHandler) -> str:
    """The `path` of the query, relative to the home; "" is the home. Raises BadRequest."""
    path = handler.get_query_argument("path", "", strip=False)
    if len(path) > LONGEST_PATH:
        raise BadRequest(_("path must have at most {most} characters.").format(most=LONGEST_PATH))
    return path


class KeptFilesHandler(ApiHandler):
    query = frozenset({"path"})

    @requires(ENVIRONMENT_FILES)
    async def get(self, user_name: str, generation_id: str, server_name: str = "") -> None:
        path = path_argument(self)
        found = await self.service.kept_files.entries(
            user_name, server_name, int(generation_id), path
        )
        self.answer({"generation": int(generation_id), "path": path, **found})


class KeptFileHandler(ApiHandler):
    query = frozenset({"path"})

    @requires(ENVIRONMENT_FILES)
    async def get(self, user_name: str, generation_id: str, server_name: str = "") -> None:
        path = path_argument(self)
        name = path.rpartition("/")[2]
        files = self.service.kept_files
        async with files.file(user_name, server_name, int(generation_id), path) as opened:
            self.set_header("Content-Type", "application/octet-stream")
            self.set_header("Content-Length", str(opened.size))
            self.set_header(
                "Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}"
            )
            async for chunk in opened.content:
                self.write(chunk)
                await self.flush()  # as fast as it is taken
        self.finish()


def routes(*servers: str) -> list[tuple[str, type[ApiHandler]]]:
    """Below each of these patterns of a server."""
    return [
        (server + KEPT + ending, handler)
        for server in servers
        for ending, handler in ((r"/files", KeptFilesHandler), (r"/file", KeptFileHandler))
    ]
