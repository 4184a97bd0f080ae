"""The server extension: registers handlers and closes what they started. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Unicode

from . import activity, status
from .ddp import handlers as ddp
from .doctor import handlers as doctor
from .doctor.performance import handlers as performance
from .doctor.repairs import handlers as repairs
from .doctor.settings import Settings
from .lease import handlers as lease
from .reset import handlers as reset


class GpucampApp(ExtensionApp):
    """gpucamp's actions over REST, under `<base_url>/gpucamp/`."""

    name = "gpucamp"
    extension_url = "/gpucamp/status"
    load_other_extensions = True

    image_root = Unicode(
        "/opt/gpucamp",
        config=True,
        help="Where the image keeps base.lock, versions.json and base/, with which the doctor "
        "compares what it finds, and environment/, which replaces what somebody installed.",
    )

    def initialize_settings(self) -> None:
        """Settings that the parts read."""
        assert self.serverapp is not None  # noqa: S101 - an extension is always linked to a server
        self.settings[reset.IMAGE] = self.image_root
        self.settings[doctor.SETTINGS] = Settings(
            image_root=Path(self.image_root), work=Path(self.serverapp.root_dir)
        )

    def initialize_handlers(self) -> None:
        """Every part exports `handlers`, a list of (pattern, handler class)."""
        for part in (status, doctor, performance, repairs, ddp, lease, reset):
            self.handlers.extend(part.handlers)

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """The server's loop runs."""
        settings = serverapp.web_app.settings

        async def runs() -> Sequence[object]:
            alive = await ddp.manager_of(settings, serverapp.root_dir, self.log).alive()
            return [*alive, *([reset] if reset.installs(serverapp) else [])]

        activity.start(settings, runs, serverapp.kernel_manager, self.log)
        reset.start(serverapp)

    async def stop_extension(self) -> None:
        """Ends what is still running: parts that start tasks or processes export `async
        stop(settings)`.
        """
        assert self.serverapp is not None  # noqa: S101 - an extension is always linked to a server
        for part in (activity, performance, repairs, doctor, ddp, reset):
            await part.stop(self.serverapp.web_app.settings)
