"""What the handlers of this part share: only the user that the server belongs to may use them."""

from __future__ import annotations

import os
from pathlib import Path

from ..handlers import GpucampHandler
from ..i18n import N_
from ..service_client import ServiceClient
from . import preview
from .environment import environment_prefix
from .packages import environment_folders


class OwnersHandler(GpucampHandler):
    """What the handlers of this part share."""

    def client(self) -> ServiceClient:
        """Of the server's own user. Raises Forbidden for others, ServiceUnavailable."""
        client = ServiceClient.from_environment(os.environ, self.locale_name.replace("_", "-"))
        client.refuse_others(
            self.current_user,
            N_("Only {user}, whose server this is, may reset its environment."),
        )
        return client

    def place(self) -> preview.Place:
        """Where the participant's things are. Blocking."""
        prefix = environment_prefix(self.kernel_spec_manager)
        folders = environment_folders(str(prefix / "bin" / "python"))
        return preview.Place(Path.home(), Path(self.serverapp.root_dir), tuple(folders))
