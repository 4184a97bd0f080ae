"""The page on which somebody looks through an environment that they left, and saves files of it."""

from __future__ import annotations

from urllib.parse import urlencode

from ..scopes import ENVIRONMENT_FILES
from .api_kept_files import KEPT, path_argument
from .auth import requires
from .page_base import PageHandler
from .views import server_path


class KeptFilesPage(PageHandler):
    @requires(ENVIRONMENT_FILES)
    async def get(self, user_name: str, generation_id: str, server_name: str = "") -> None:
        path = path_argument(self)
        found = await self.service.kept_files.entries(
            user_name, server_name, int(generation_id), path
        )
        own = user_name == self.caller.name and not server_name
        server = server_path(user_name, server_name)
        self.show(
            "kept_files.html",
            generation=int(generation_id),
            entries=[
                {**entry, "query": urlencode({"path": f"{path}/{entry['name']}".lstrip("/")})}
                for entry in found["entries"]
                if entry["name"].isprintable()
            ],
            unprintable=sum(not entry["name"].isprintable() for entry in found["entries"]),
            more=found["more"],
            above=steps(path),
            file_url=f"{self.service.prefix}api/v1/{server}/generations/{generation_id}/file",
            page_url=self.service.prefix if own else f"{self.service.prefix}{server}",
        )


def steps(path: str) -> list[tuple[str, str]]:
    """The folders on the way to this one, itself last: name, query."""
    parts = [part for part in path.split("/") if part]
    return [
        (part, urlencode({"path": "/".join(parts[: place + 1])}))
        for place, part in enumerate(parts)
    ]


_USER = r"users/(?P<user_name>[^/]+)"

ROUTES: list[tuple[str, type[PageHandler]]] = [
    (_USER + r"/server" + KEPT, KeptFilesPage),
    (_USER + r"/servers/(?P<server_name>[^/]+)" + KEPT, KeptFilesPage),
]
