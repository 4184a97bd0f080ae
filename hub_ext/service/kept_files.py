"""Files of environments that were left, to look at and to copy: nothing of them is started.

Guarantees: only a generation that is kept is opened, read-only, by a container of the image which
has nothing else (container_args.reader_request); it is removed when the answer is given, or ends by
itself after READER_SECONDS if the service was killed; at most AT_ONCE of them at a time, one of
each user; no link is followed (kept_files_reader.py). An answer that is cut short is an error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from .. import kept_files_reader
from ..container_args import BASE_PYTHON
from ..engine_exec import Done
from ..errors import Conflict, EngineUnavailable, NotFound
from ..i18n import _
from ..ledger import Ledger
from ..ledger.environments import require_kept

READER_SECONDS = 1800
LIST_SECONDS = 30.0
AT_ONCE = 4
MOST_LIST_BYTES = 2**21
LONGEST_PATH = 4096

_SOURCE = Path(kept_files_reader.__file__).read_text("utf-8")


class Readers(Protocol):
    """What this module asks of the Docker Engine (service/containers.py)."""

    async def start_reader(
        self, user: str, server: str, generation: int, image: str, seconds: int
    ) -> str: ...
    async def remove(self, container_id: str) -> None: ...


class Runner(Protocol):
    """Runs commands in containers (engine_exec.py)."""

    async def run(self, container: str, command: Sequence[str], *, most_bytes: int) -> Done: ...
    def stream(self, container: str, command: Sequence[str]) -> AsyncIterator[bytes]: ...


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """size: bytes; content: exactly so many, or EngineUnavailable."""

    size: int
    content: AsyncIterator[bytes]


class KeptFiles:
    """Of all users."""

    def __init__(self, ledger: Ledger, engine: Readers, runner: Runner, image: str) -> None:
        self._ledger, self._engine, self._runner, self._image = ledger, engine, runner, image
        self._open: set[str] = set()  # users
        self._removing: set[asyncio.Task[None]] = set()

    async def entries(self, user: str, server: str, generation: int, path: str) -> dict[str, Any]:
        """{"entries": [{name, kind, bytes, modified_at}], "more": n} of a folder of its home.

        Raises NotFound, Conflict, EngineUnavailable, EngineRefused, ImageMissing.
        """
        _require_path(path)
        async with self._reader(user, server, generation) as reader:
            try:
                async with asyncio.timeout(LIST_SECONDS):
                    done = await self._runner.run(
                        reader, _command("list", path), most_bytes=MOST_LIST_BYTES
                    )
            except TimeoutError as error:
                raise EngineUnavailable("The files were not listed in time.") from error
            return _answer(done.stdout, path)

    @asynccontextmanager
    async def file(
        self, user: str, server: str, generation: int, path: str
    ) -> AsyncIterator[OpenedFile]:
        """A file of its home. Raises as `entries`."""
        _require_path(path)
        async with self._reader(user, server, generation) as reader:
            stream = self._runner.stream(reader, _command("read", path))
            begun = bytearray()
            async for chunk in stream:
                begun += chunk
                if b"\n" in begun:
                    break
            head, _newline, rest = bytes(begun).partition(b"\n")
            size = int(_answer(head, path)["bytes"])
            yield OpenedFile(size, _exactly(size, rest, stream))

    async def close(self) -> None:
        """Until what was opened is removed."""
        await asyncio.gather(*self._removing, return_exceptions=True)

    @asynccontextmanager
    async def _reader(self, user: str, server: str, generation: int) -> AsyncIterator[str]:
        found, image = await asyncio.to_thread(
            lambda: (
                self._ledger.environment(user, server),
                self._ledger.image_in_force(self._image),
            )
        )
        try:
            require_kept(found, generation)
        except Conflict as error:
            raise NotFound(str(error)) from error
        if user in self._open or len(self._open) >= AT_ONCE:
            raise Conflict(_("Files are being read already. Try again in a moment."))
        self._open.add(user)
        reader = ""
        try:
            reader = await self._engine.start_reader(
                user, server, generation, image, READER_SECONDS
            )
            yield reader
        finally:
            self._open.discard(user)
            if reader:
                removing = asyncio.create_task(self._engine.remove(reader))
                self._removing.add(removing)
                removing.add_done_callback(self._removed)

    def _removed(self, task: asyncio.Task[None]) -> None:
        self._removing.discard(task)
        if not task.cancelled():
            task.exception()  # it ends by itself, too


def _require_path(path: str) -> None:
    """Raises NotFound for what no file can be called."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        path = ""
    else:
        if "\0" not in path:
            return
    raise NotFound(_("There is no {path} in that environment.").format(path=path))


def _command(action: str, path: str) -> list[str]:
    return [BASE_PYTHON, "-I", "-S", "-c", _SOURCE, action, path]


def _answer(text: bytes, path: str) -> dict[str, Any]:
    """Raises NotFound, Conflict, EngineUnavailable."""
    try:
        answer = json.loads(text)
    except ValueError as error:
        raise EngineUnavailable("The files could not be read.") from error
    match answer.get("error"):
        case None:
            return dict(answer)
        case "refused":
            raise Conflict(_("{path} may not be read by its own user.").format(path=path or "~"))
        case "no-folder":
            raise NotFound(_("{path} is no folder.").format(path=path))
        case "no-file":
            raise NotFound(_("{path} is no file, or is reached by a link.").format(path=path))
    raise NotFound(_("There is no {path} in that environment.").format(path=path))


async def _exactly(size: int, first: bytes, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    left = size - len(first)
    if first:
        yield first
    async for chunk in stream:
        left -= len(chunk)
        yield chunk
    if left:
        raise EngineUnavailable("The file was cut short.")
