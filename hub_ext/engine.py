"""The Docker Engine, asked from an event loop.

What this module guarantees:

- The event loop never blocks: every call runs in this client's own threads, so one slow call
  delays no other until all threads are taken.
- A question about a container has an honest answer: RUNNING, STOPPED, GONE or UNKNOWN. Only a 404
  of the Engine is GONE. An error 500, a cut connection or silence is UNKNOWN, never GONE.
- `remove` returns only when the Engine has said that the container is gone. Otherwise it raises.
- A pull is done once, however many wait for it, and goes on when one of them leaves.

A call to the Engine cannot be interrupted. Cancelling an await leaves the call running in its
thread; whoever must know how it ended shields it (lifecycle.py does).
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeVar

import docker
import docker.errors
import requests
import urllib3
from docker.utils import kwargs_from_env

from . import engine_metrics
from .errors import EngineRefused, EngineUnavailable, ImageMissing, NameTaken
from .images import ImageFact, fact_of
from .pulling import Pull, PullProgress, follow, is_unknown
from .tasks import seen

T = TypeVar("T")

LOG_TAIL_BYTES = 16 * 1024

# all that docker-py, requests and urllib3 raise when a reply is missing, cut or garbled
_NO_ANSWER = (
    docker.errors.DockerException,
    docker.errors.StreamParseError,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    OSError,
)


class Presence(StrEnum):
    """What the Engine says about a container."""

    RUNNING = "running"
    STOPPED = "stopped"  # it exists and does not run: created, exited, dead or being removed
    GONE = "gone"  # the Engine answered that there is none
    UNKNOWN = "unknown"  # the Engine did not answer the question


@dataclass(frozen=True, slots=True)
class ContainerState:
    """One answer about one container. Fields beyond `presence` are empty where it has none."""

    presence: Presence
    id: str = ""
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)  # network -> IP address
    never_started: bool = False
    exit_code: int | None = None
    oom_killed: bool = False
    error: str = ""  # the Engine's own words, for STOPPED and UNKNOWN
    pid: int = 0  # of its first process, on the Engine's host; 0: none runs


@dataclass(frozen=True, slots=True)
class ContainerFacts:
    """One line of a list of containers."""

    id: str
    name: str
    running: bool
    image: str
    image_id: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class VolumeSize:
    """One volume. size: bytes of disk, None where the Engine could not measure it."""

    name: str
    labels: Mapping[str, str]
    size: int | None


class EngineClient:
    """An asynchronous client of one Docker Engine.

    Args:
        threads: how many calls may run at once.
        timeout: seconds that the Engine may be silent in a call that changes something.
        answer_timeout: seconds after which a question counts as not answered.
        base_url: the Engine's address; by default DOCKER_HOST or the local socket.

    Raises, from every method that does not say otherwise: EngineUnavailable if the Engine could not
    be reached or did not answer, EngineRefused if it answered with an error.
    """

    def __init__(
        self,
        *,
        threads: int = 8,
        timeout: float = 60,
        answer_timeout: float = 10,
        base_url: str | None = None,
    ) -> None:
        self._threads = threads
        self._timeout = timeout
        self._answer_timeout = answer_timeout
        self._base_url = base_url
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="engine")
        self._connecting = threading.Lock()
        self._connection: docker.APIClient | None = None
        self._pulls: dict[str, Pull] = {}
        self._present_images: set[str] = set()

    # questions

    async def ping(self) -> None:
        """Return if the Engine answers."""
        await self._ask(lambda api: api.ping())

    async def state(self, container: str) -> ContainerState:
        """What the Engine says about a container, by name or id. Never raises."""
        try:
            facts = await self._ask(lambda api: api.inspect_container(container))
        except _NotThere:
            return ContainerState(Presence.GONE)
        except (EngineUnavailable, EngineRefused) as error:
            return ContainerState(Presence.UNKNOWN, error=str(error))
        return _state_of(facts)

    async def containers(self, labels: Mapping[str, str]) -> tuple[ContainerFacts, ...]:
        """All containers, running or not, that carry every one of `labels`."""
        filters = {"label": [f"{key}={value}" for key, value in labels.items()]}
        found = await self._ask(lambda api: api.containers(all=True, filters=filters))
        return tuple(
            ContainerFacts(
                id=each["Id"],
                name=(each.get("Names") or [""])[0].lstrip("/"),
                running=each.get("State") in ("running", "paused", "restarting"),
                image=each.get("Image", ""),
                image_id=each.get("ImageID", ""),
                labels=each.get("Labels") or {},
            )
            for each in found
        )

    async def log_tail(self, container: str, lines: int = 40) -> str:
        """The last lines a container wrote; "" if they cannot be had. Never raises."""
        try:
            raw = await self._ask(
                lambda api: api.logs(container, stdout=True, stderr=True, tail=lines)
            )
        except (EngineUnavailable, EngineRefused):
            return ""
        return bytes(raw)[-LOG_TAIL_BYTES:].decode("utf-8", "replace")

    async def image_present(self, image: str) -> bool:
        """Whether the Engine has the image. A yes is kept, since an id or digest never changes;
        `create` finds out if the image was deleted since."""
        if image in self._present_images:
            return True
        try:
            await self._ask(lambda api: _inspect_image(api, image))
        except _NotThere:
            return False
        self._present_images.add(image)
        return True

    async def images(self) -> tuple[ImageFact, ...]:
        """All on this Engine, but for mere steps of builds."""
        return tuple(map(fact_of, await self._ask(lambda api: api.images())))

    # changes

    async def create(self, name: str, request: Mapping[str, Any]) -> str:
        """Create a container from a whole create request; returns its id.

        Raises NameTaken if a container of this name exists, ImageMissing if the image does not.
        EngineUnavailable leaves open whether the container was made: ask `state(name)`.
        """
        try:
            made = await self._change(lambda api: _create_container(api, dict(request), name))
        except EngineRefused as error:
            if error.status == 404 and "no such image" in str(error).lower():
                self._present_images.discard(str(request.get("Image", "")))
                raise ImageMissing(str(error)) from error
            if error.status == 409:
                raise NameTaken(str(error)) from error
            raise
        return str(made["Id"])

    async def start(self, container: str) -> None:
        """Start a created container."""
        await self._change(lambda api: api.start(container))

    async def stop(self, container: str, grace: int) -> None:
        """Ask a container to end, and kill it after `grace` seconds. It may be gone already."""
        try:
            await self._change(lambda api: api.stop(container, timeout=grace))
        except _NotThere:
            return

    async def remove(self, container: str, *, within: float = 30) -> None:
        """Kill and remove a container with its anonymous volumes; returns when it is gone.

        It may be gone already, or being removed by someone else. Raises EngineUnavailable if the
        Engine has not said within `within` seconds that the container is gone.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + within
        delay = 0.05
        problem = ""
        while True:
            try:
                await self._change(lambda api: api.remove_container(container, v=True, force=True))
            except _NotThere:
                return
            except (EngineUnavailable, EngineRefused) as error:
                problem = str(error)
            state = await self.state(container)
            if state.presence is Presence.GONE:
                return
            if loop.time() >= deadline:
                raise EngineUnavailable(
                    f"The Docker Engine has not confirmed that container {container} is gone: "
                    f"{problem or state.error or state.presence}"
                )
            await asyncio.sleep(delay)
            delay = min(delay * 2, 1)

    async def volume_exists(self, name: str) -> bool:
        """Whether the Engine has it; a container that mounts one that it has not would make it."""
        try:
            await self._ask(lambda api: api.inspect_volume(name))
        except _NotThere:
            return False
        return True

    async def remove_volume(self, name: str) -> None:
        """Remove a volume; it may be gone already. EngineRefused if a container uses it."""
        try:
            await self._change(lambda api: api.remove_volume(name))
        except _NotThere:
            return

    async def volume_sizes(
        self, labels: Mapping[str, str], *, within: float = 600
    ) -> tuple[VolumeSize, ...]:
        """The volumes that carry every one of `labels`, each with its size.

        The Engine reads through all of them, for `within` seconds at most; EngineRefused if it is
        at that for somebody else already.
        """

        told = await self._change(lambda api: _disk_usage(api, within))
        return tuple(
            VolumeSize(each["Name"], own, _size(each))
            for each in told.get("Volumes") or ()
            if (own := each.get("Labels") or {}).items() >= labels.items()
        )

    async def pull(self, image: str, on_progress: Callable[[PullProgress], None]) -> None:
        """Pull an image by tag or digest, reporting from the event loop.

        Joins a pull of the same image that is under way. Cancelling leaves the pull running, for
        the others and for the next start. Raises ImageMissing if the registry has no such image.
        """
        if image.startswith("sha256:"):
            raise ImageMissing(
                f"Image {image} is not on this host and cannot be pulled, since it is named by its "
                "local id. Build it again (make image)."
            )
        pull = self._pulls.get(image)
        if pull is None:
            pull = self._pulls[image] = Pull(asyncio.get_running_loop())
            pull.task = asyncio.create_task(self._run_pull(image, pull))
            pull.task.add_done_callback(seen)
        pull.listeners.append(on_progress)
        try:
            assert pull.task is not None  # noqa: S101  (set where the pull is made)
            await asyncio.shield(pull.task)
        finally:
            pull.listeners.remove(on_progress)

    async def close(self) -> None:
        """Drop calls that have not begun and close the connections."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        if self._connection is not None:
            self._connection.close()

    # inside

    async def _run_pull(self, image: str, pull: Pull) -> None:
        def work(api: docker.APIClient) -> None:
            with closing(api.pull(image, stream=True, decode=True)) as stream:
                follow(stream, pull.report_from_thread)

        try:
            await self._change(work)
        except EngineRefused as error:
            # some Engines answer 500 if a registry does not know a digest
            if error.status == 404 or is_unknown(str(error)):
                raise ImageMissing(f"No registry has image {image}: {error}") from error
            raise
        finally:
            del self._pulls[image]
        self._present_images.add(image)

    async def _ask(self, call: Callable[[docker.APIClient], T]) -> T:
        """A question: repeated once if a kept connection was dead, given up after a while."""
        try:
            async with asyncio.timeout(self._answer_timeout):
                try:
                    return await self._change(call)
                except EngineUnavailable:
                    return await self._change(call)
        except TimeoutError as error:
            engine_metrics.silent()
            raise EngineUnavailable(
                f"The Docker Engine did not answer within {self._answer_timeout:g} seconds."
            ) from error

    async def _change(self, call: Callable[[docker.APIClient], T]) -> T:
        work = functools.partial(self._in_thread, call)
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _in_thread(self, call: Callable[[docker.APIClient], T]) -> T:
        try:
            return call(self._api())
        except docker.errors.APIError as error:
            words = str(error.explanation or error)
            if error.status_code == 404:
                raise _NotThere(words, 404) from error
            engine_metrics.refused()
            raise EngineRefused(words, int(error.status_code or 0)) from error
        except _NO_ANSWER as error:
            engine_metrics.unavailable()
            raise EngineUnavailable(f"The Docker Engine cannot be reached: {error}") from error

    def _api(self) -> docker.APIClient:
        with self._connecting:
            if self._connection is None:
                where: dict[str, Any] = dict(kwargs_from_env())
                if self._base_url is not None:
                    where["base_url"] = self._base_url
                where |= {"timeout": self._timeout, "max_pool_size": self._threads}
                self._connection = docker.APIClient(version="auto", **where)
            return self._connection


class _NotThere(EngineRefused):
    """The Engine answered 404."""


def _inspect_image(api: Any, image: str) -> object:
    return api.inspect_image(image)


def _create_container(api: Any, request: dict[str, Any], name: str) -> Mapping[str, Any]:
    made: Mapping[str, Any] = api.create_container_from_config(request, name)
    return made


def _disk_usage(api: Any, within: float) -> Mapping[str, Any]:
    # docker-py's own df() has neither the kind (which older Engines ignore) nor a time limit
    answer = api._get(api._url("/system/df"), params={"type": "volume"}, timeout=within)
    told: Mapping[str, Any] = api._result(answer, json=True)
    return told


def _size(volume: Mapping[str, Any]) -> int | None:
    size = (volume.get("UsageData") or {}).get("Size")
    return size if isinstance(size, int) and size >= 0 else None  # -1: not measured


def _state_of(facts: Mapping[str, Any]) -> ContainerState:
    state = facts["State"]
    running = bool(state.get("Running"))
    networks = (facts.get("NetworkSettings") or {}).get("Networks") or {}
    return ContainerState(
        presence=Presence.RUNNING if running else Presence.STOPPED,
        id=facts["Id"],
        name=facts.get("Name", "").lstrip("/"),
        labels=(facts.get("Config") or {}).get("Labels") or {},
        addresses={name: each.get("IPAddress", "") for name, each in networks.items()},
        never_started=state.get("Status") == "created",
        exit_code=None if running else int(state.get("ExitCode") or 0),
        oom_killed=bool(state.get("OOMKilled")),
        error=state.get("Error", ""),
        pid=int(state.get("Pid") or 0),
    )
