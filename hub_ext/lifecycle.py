"""One server's lease and container, from the request to the proof that nothing is left.

What this module guarantees:

- A lease is ended only when its container is known to be gone: the Engine said so, or none was
  ever asked for. While the Engine does not answer, the lease stays and `clean_up` goes on trying.
- Whatever is cancelled, and when: steps already sent to the ledger or the Engine are waited for by
  `tear_down`, so neither a container nor a lease is left that nobody knows of.
- A container is removed by its id, so a late clean-up never hits its successor of the same name.
- A start begins with nothing left of an earlier one. A running container of another hub is never
  touched.
- A place in the queue is given up only by whoever took it: not by the clean-up after another
  process of the hub, nor by the stop that is a part of a reset.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from .clean_ups import CleanUp
from .container_args import HUB_LABEL, LEASE_LABEL
from .engine import ContainerState, Presence
from .errors import (
    Conflict,
    EngineRefused,
    EngineUnavailable,
    GpucampError,
    NameTaken,
    NotFound,
    QueueTimeout,
    TakenOutOfLine,
)
from .fair_queue import Place, grant
from .hub_side import HubSide
from .models import Lease, LeaseState, NoticeKind, QueueEntry, Request
from .pulling import PullProgress
from .queue_keeper import is_reset
from .spawn_metrics import Stage, timed

LOOK_EVERY = 1.0  # seconds between looks at the ledger while waiting (leases end elsewhere, too)
RETRY_CLEAN_UP = 3.0
REMOVE_WITHIN = 2.0  # seconds for one try of a clean-up, which goes on in the background

Tell = Callable[[Place, int, int], None]

_log = logging.getLogger("gpucamp.lifecycle")


class Lifecycle:
    """The order of calls to ledger and Engine for one server, at one start and stop.

    `container_id` is that of an earlier process of the hub, if it kept one.
    """

    def __init__(
        self, side: HubSide, user: str, server: str, name: str, *, container_id: str = ""
    ) -> None:
        self.side = side
        self._user = user
        self._server = server
        self._key = (user, server)
        self._name = name
        self.container_id = container_id
        self.lease: Lease | None = None
        self.create_sent = False  # in this process
        self._may_exist = True  # a container of this server, as far as this object knows
        self._in_line = False  # in this process

    # -- start

    async def make_room(self) -> None:
        """End what an earlier start of this server left: container, lease, place in the queue.

        Raises EngineUnavailable if the Engine does not answer, Conflict if the name belongs to a
        running container of another hub.
        """
        late = self.side.clean_ups.pop(self._key, None)
        if late is not None:
            late.cancel()
        await self.side.settled(self._key)
        state = await self.side.engine.state(self._name)
        if state.presence is Presence.UNKNOWN:
            raise EngineUnavailable(state.error)
        if state.presence is not Presence.GONE:
            self._require_ours(state)
            _log.warning("Removing container %s, left by an earlier start", self._name)
            await self._do(self.side.engine.remove(state.id))
        await self._release("left by an earlier start")
        await self._ledger(self.side.written_clean_ups.drop, self._key)
        self._may_exist = False

    async def acquire(
        self,
        request: Request,
        *,
        limit: float,
        tell: Tell,
        user_options: Mapping[str, object] | None = None,
    ) -> Lease:
        """Wait in the queue until the request is granted.

        `tell` gets the place in the line, its length and how many devices are set aside for the
        request, at each change. `user_options` are what it takes to ask for the same again, should
        the hub end meanwhile. Raises QueueTimeout `limit` seconds after the place was taken, and
        TakenOutOfLine when somebody takes that place away.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + limit
        sequence: int | None = None  # of the place in the line
        if request.gpus:
            entry = await self._join(request, user_options or {})
            sequence = entry.sequence
            deadline -= max(0.0, (_now() - entry.enqueued_at).total_seconds())
        told: object = None
        while True:
            seen = await self.side.line.look()
            if (
                not request.gpus
                or self._key in seen.decision.grants
                or self._holds_one(seen.snapshot.leases)
            ):
                self.lease = await self._ledger(
                    self.side.ledger.acquire, request, lambda now: grant(now, request), _now()
                )
                if self.lease is not None:
                    self._leave()
                    return self.lease
            place = seen.places.get(self._key)
            # _join rang, so that the first look, too, began after this server stood in the line
            if place is None and sequence is not None:
                raise await self._taken_out(sequence)
            if place is not None:
                sequence = place.entry.sequence
                news = (place.position, len(seen.places), seen.set_aside.get(self._key, 0))
                if told != (*news, place.eta, place.entry.move):
                    told = (*news, place.eta, place.entry.move)
                    tell(place, *news[1:])
            if loop.time() >= deadline:
                raise QueueTimeout(f"No GPU became free within {limit:g} seconds.")
            await self.side.line.change(min(LOOK_EVERY, max(deadline - loop.time(), 0.01)))

    async def _taken_out(self, sequence: int) -> TakenOutOfLine:
        """Who took this server out of the line, and why."""
        unread = await asyncio.to_thread(self.side.ledger.notices, *self._key)
        for each in reversed(unread):
            if (each.kind, each.detail.get("occasion")) == (
                NoticeKind.QUEUE_CANCELLED,
                str(sequence),
            ):
                return TakenOutOfLine(each.detail.get("by", ""), each.detail.get("reason", ""))
        return TakenOutOfLine("", "")

    async def _join(self, request: Request, user_options: Mapping[str, object]) -> QueueEntry:
        """Stand in the queue, in a place kept for this server if there is one."""
        self._in_line = True
        self.side.waiting.add(self._key)

        def enqueue() -> QueueEntry:
            return self.side.ledger.enqueue(
                request, _now(), waiter=self.side.run, user_options=user_options
            )

        entry: QueueEntry = await self._ledger(enqueue)
        self.side.line.ring()
        return entry

    def _leave(self) -> None:
        """Nobody of this process stands in the queue for this server any more."""
        if self._in_line:
            self._in_line = False
            self.side.waiting.discard(self._key)
        self.side.line.ring()

    async def pull_if_missing(self, image: str, tell: Callable[[PullProgress], None]) -> None:
        """Raises ImageMissing, EngineUnavailable, EngineRefused."""
        if not await self.side.engine.image_present(image):
            await self.side.engine.pull(image, tell)

    async def run(self, make_request: Callable[[bool], Mapping[str, Any]]) -> ContainerState:
        """Create and start the container; what the Engine says of it then.

        `make_request` gets whether resource limits may be raised (ulimits), which some Engines
        cannot do. Raises EngineUnavailable, EngineRefused, ImageMissing, and Conflict if the lease
        has ended meanwhile: then nothing was started.
        """
        raised = not self.side.ulimits_refused
        try:
            return await self._create_and_start(make_request(raised))
        except EngineRefused as error:
            # what this start asked for counts: another's may have learnt of it meanwhile
            if not raised or "setting rlimit" not in str(error):
                raise
            _log.warning(
                "This Docker Engine cannot raise ulimits; starting without them: %s", error
            )
            self.side.ulimits_refused = True
            await self._do(self.side.engine.remove(self.container_id))
            return await self._create_and_start(make_request(False))

    async def _create_and_start(self, request: Mapping[str, Any]) -> ContainerState:
        async with contextlib.AsyncExitStack() as slot:
            with timed(Stage.SLOT):
                await slot.enter_async_context(self.side.start_slots.one())
            with timed(Stage.CREATE):
                await self._create_now(request)
            with timed(Stage.START):
                await self._start_now()
        state = await self.state()
        if state.presence is Presence.UNKNOWN:
            raise EngineUnavailable(state.error)
        return state

    async def _create_now(self, request: Mapping[str, Any]) -> None:
        self._may_exist = self.create_sent = True
        self.container_id = ""  # until the reply: a cancelled create is found by name
        self.container_id = await self._do(self._create(request))
        if self.lease is not None:
            # its lease may have ended while this process or the Engine stood still
            await self._ledger(
                self.side.ledger.name_container, self.lease.id, self.container_id, _now()
            )

    async def _start_now(self) -> None:
        try:
            await self._do(self.side.engine.start(self.container_id))
        except EngineUnavailable:  # its reply may be lost; to start twice does no harm
            await self._do(self.side.engine.start(self.container_id))

    async def _create(self, request: Mapping[str, Any]) -> str:
        """Create; a reply that was lost is looked up, a name that is taken is freed once."""
        engine = self.side.engine
        try:
            return await engine.create(self._name, request)
        except (NameTaken, EngineUnavailable) as error:
            state = await engine.state(self._name)
            if state.presence is Presence.UNKNOWN:
                raise
            if state.presence is not Presence.GONE:
                if self.lease is not None and state.labels.get(LEASE_LABEL) == self.lease.id:
                    return state.id
                if isinstance(error, EngineUnavailable):
                    raise
                self._require_ours(state)
                await engine.remove(state.id)
            return await engine.create(self._name, request)

    async def mark_running(self) -> None:
        """The server answers. Raises Conflict if its lease has ended meanwhile."""
        if self.lease is not None:
            await self._ledger(
                self.side.ledger.mark_running, self.lease.id, self.container_id, _now()
            )

    # -- meanwhile

    async def state(self) -> ContainerState:
        """What the Engine says of this server's container. Another hub's of that name is none."""
        if self.container_id:
            return await self.side.engine.state(self.container_id)
        state = await self.side.engine.state(self._name)
        if state.presence in (Presence.GONE, Presence.UNKNOWN) or self._is_ours(state):
            return state
        return ContainerState(Presence.GONE)

    async def adopt(self, state: ContainerState) -> None:
        """Take over a running container that an earlier hub process started."""
        self.container_id = state.id
        lease = await asyncio.to_thread(self.side.ledger.lease_of, self._user, self._server)
        if lease is None or lease.id != state.labels.get(LEASE_LABEL):
            _log.error("Container %s runs without a lease of %s", self._name, self._key)
            return
        self.lease = lease
        if lease.state is LeaseState.GRANTED:
            await self.mark_running()

    async def log_tail(self) -> str:
        """The last lines of the container's log, "" if there are none."""
        return await self.side.engine.log_tail(self.container_id or self._name)

    # -- stop

    async def stop(self, grace: int, patience: float) -> None:
        """Ask the container to end, then remove it; returns when it is gone.

        An Engine that does not answer is tried again for `patience` seconds, then
        EngineUnavailable is raised.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience
        while True:
            try:
                state = await self.state()
                if state.presence is Presence.RUNNING and grace > 0:
                    await self._do(self.side.engine.stop(state.id, grace))
                await self._remove_container()
                return
            except (EngineUnavailable, EngineRefused):
                if loop.time() >= deadline:
                    raise
                await asyncio.sleep(1)

    async def tear_down(self, reason: str) -> None:
        """Leave neither container nor lease nor place in the queue. Idempotent.

        A lease on hold (a reset) stays held, and a place in the queue is kept through a reset. If
        Engine or ledger do not answer, the rest goes on in the background until they do, or until
        the next start of this server does it.
        """
        try:
            await self._tear_down(reason)
        except GpucampError as error:
            _log.error("The lease of %s stays until its container is gone: %s", self._key, error)
            earlier = self.side.clean_ups.get(self._key)
            if earlier is not None:
                earlier.cancel()
            self.side.clean_ups[self._key] = asyncio.ensure_future(self._keep_trying(reason))
            await self._write_down(reason)

    def resume(self, left: CleanUp) -> None:
        """Go on in the background with what an earlier process of the hub could not clean up."""
        self.side.clean_ups[self._key] = asyncio.ensure_future(self._finish(left))

    async def _finish(self, left: CleanUp) -> None:
        lease = None
        while lease is None:
            try:
                lease = await asyncio.to_thread(self.side.ledger.lease, left.lease_id)
            except NotFound:
                break
            except GpucampError:
                await asyncio.sleep(RETRY_CLEAN_UP)
        if lease is None or lease.state is LeaseState.ENDED:
            await self._ledger(self.side.written_clean_ups.drop, self._key)
            self.side.clean_ups.pop(self._key, None)
            return
        self.lease = lease
        await self._keep_trying(left.reason)

    async def _write_down(self, reason: str) -> None:
        try:
            lease = await asyncio.to_thread(self.side.ledger.lease_of, *self._key)
            # a start that came meanwhile has done it, and may have taken up this very lease
            if lease is not None and self._key in self.side.clean_ups:
                left = CleanUp(self._user, self._server, self._name, lease.id, reason)
                await self._ledger(self.side.written_clean_ups.add, left)
        except GpucampError as error:
            _log.warning("A restarted hub will not know of the clean-up: %s", error)

    async def _tear_down(self, reason: str) -> None:
        await self.side.settled(self._key)
        if self._in_line:
            if not await asyncio.to_thread(is_reset, self.side.ledger, *self._key):
                await self._ledger(self.side.ledger.withdraw, self._user, self._server)
            self._leave()
        await self._remove_container()
        await self._release(reason)

    async def _keep_trying(self, reason: str) -> None:
        while True:
            await asyncio.sleep(RETRY_CLEAN_UP)
            try:
                await self._tear_down(reason)
            except GpucampError as error:
                _log.warning("The clean-up after %s goes on: %s", self._key, error)
            else:
                self.side.clean_ups.pop(self._key, None)
                with contextlib.suppress(GpucampError):
                    await self._ledger(self.side.written_clean_ups.drop, self._key)
                return

    async def _remove_container(self) -> None:
        """Raises EngineUnavailable unless the container is known to be gone."""
        if not self._may_exist:
            return
        # without an id: the reply of the create never came, or an earlier hub process has it
        state = await self.state()
        if state.presence is Presence.UNKNOWN:
            raise EngineUnavailable(state.error)
        # a name is taken by one container: if that is of another lease, this one's is gone
        ours = self.lease is None or state.labels.get(LEASE_LABEL, self.lease.id) == self.lease.id
        if state.presence is not Presence.GONE and ours:
            await self._do(self.side.engine.remove(state.id, within=REMOVE_WITHIN))
        self._may_exist = False

    async def _release(self, reason: str) -> None:
        """The container is gone: end the lease, or let its hold run."""
        ledger = self.side.ledger
        lease = await asyncio.to_thread(ledger.lease_of, self._user, self._server)
        if lease is not None and (self.lease is None or lease.id == self.lease.id):
            if lease.state is LeaseState.HELD:
                await self._ledger(ledger.mark_gone, lease.id, _now())
            else:
                await self._ledger(ledger.end, lease.id, reason, _now())
        self.lease = None
        self.side.line.ring()

    # -- helpers

    def _holds_one(self, leases: tuple[Lease, ...]) -> bool:
        """Whether a lease on hold waits for this server: then there is nothing to wait for."""
        return any((each.user, each.server) == self._key for each in leases)

    def _is_ours(self, state: ContainerState) -> bool:
        return state.labels.get(HUB_LABEL) == self.side.hub_id

    def _require_ours(self, state: ContainerState) -> None:
        """One without labels is a leftover that may go; a running one of another hub may not."""
        if HUB_LABEL not in state.labels or self._is_ours(state):
            return
        if state.presence is Presence.RUNNING:
            raise Conflict(
                f"The container {self._name} belongs to another hub on this Docker Engine. Give "
                f"this hub another c.GPUDockerSpawner.prefix, or docker rm -f {self._name}"
            )

    async def _do(self, step: Any) -> Any:
        return await self.side.finish(self._key, step)

    async def _ledger(self, call: Callable[..., Any], *args: Any) -> Any:
        return await self._do(asyncio.to_thread(call, *args))


def _now() -> datetime:
    return datetime.now(UTC)


def resume_clean_ups(side: HubSide) -> None:
    """Go on with all that an earlier process of the hub left; call it on the event loop."""
    left, side.left_by_earlier = side.left_by_earlier, ()
    for each in left:
        if each.key not in side.clean_ups:
            Lifecycle(side, each.user, each.server, each.container).resume(each)
