"""Who waits in vain, and whose devices would help them. Pure.

What this module guarantees: devices that are free count first, so somebody who will be served in a
moment is nobody to make room for; a device helps one who waits, not all of them; whether a lease
helps does not depend on how the others are matched (a maximum matching of devices to those who
wait), so leases that ended for someone are enough for them: no further one must end.

Nobody is helped who could not be granted anything: whose group has all the devices that it may
have, or who asks for more devices than there are in order.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from .models import DeviceRecord, Lease, QueueEntry, Request
from .placement import suits
from .policy import Policy


class Demand:
    """What is missing for those who wait. `take` lets a lease fill a part of it."""

    def __init__(
        self,
        waiting: Sequence[QueueEntry],
        devices: Iterable[DeviceRecord],
        leases: Sequence[Lease],
        policy: Policy,
    ) -> None:
        """`leases` are all live ones: a server that holds one waits for nothing."""
        self._policy = policy
        self._records = {each.device.uuid: each for each in devices}
        served = {(each.user, each.server) for each in leases}
        in_groups = Counter(
            name for lease in leases for name in lease.groups for _ in lease.device_uuids
        )
        needs: Counter[Request] = Counter()  # by what they ask for, whoever asks
        there: dict[Request, int] = {}  # how many devices could be had of it at best
        for request in (entry.request for entry in waiting):
            if (request.user, request.server) in served or self._at_limit(request, in_groups):
                continue
            shape = _shape(request)
            if shape not in there:
                there[shape] = sum(
                    r.accepts and self._fits(r, shape) for r in self._records.values()
                )
            if 0 < request.gpus <= there[shape]:
                needs[shape] += request.gpus
        self._shapes = tuple(needs)
        self._missing = list(needs.values())
        # devices of a class suit the same shapes; how many of it serve each
        self._serving: Counter[tuple[frozenset[int], int]] = Counter()
        for record in self._records.values():
            room = record.free_slots if record.device.shared else int(record.is_free)
            suiting = self._suiting(record) if room else frozenset()
            while room and self._serve(suiting):
                room -= 1

    def wants(self, lease: Lease) -> bool:
        """Whether any device of a live lease would help somebody."""
        return any(self._path(suiting) is not None for suiting in self._classes(lease))

    def take(self, lease: Lease) -> bool:
        """As `wants`; the devices count as given to those who wait from now on."""
        return sum([self._serve(suiting) for suiting in self._classes(lease)]) > 0

    def _at_limit(self, request: Request, in_groups: Counter[str]) -> bool:
        for name in request.groups:
            limit = self._policy.group_limits.get(name)
            if limit is not None and limit.max_devices is not None:
                if in_groups[name] + request.gpus > limit.max_devices:
                    return True
        return False

    def _fits(self, record: DeviceRecord, shape: Request) -> bool:
        return suits(record.device, shape, self._policy)

    def _suiting(self, record: DeviceRecord) -> frozenset[int]:
        """Whom the device would suit, if it were free."""
        if not self._shapes or not record.accepts:
            return frozenset()
        return frozenset(i for i, shape in enumerate(self._shapes) if self._fits(record, shape))

    def _classes(self, lease: Lease) -> list[frozenset[int]]:
        found = (self._records.get(uuid) for uuid in lease.device_uuids)
        return [self._suiting(record) for record in found if record is not None]

    def _serve(self, suiting: frozenset[int]) -> bool:
        path = self._path(suiting)
        if path is None:
            return False
        giver = suiting
        for shape, taken_from in path:
            self._serving[giver, shape] += 1
            if taken_from is None:
                self._missing[shape] -= 1
                break
            self._serving[taken_from, shape] -= 1
            giver = taken_from
        return True

    def _path(self, suiting: frozenset[int]) -> list[tuple[int, frozenset[int] | None]] | None:
        """How one more device would fill a need: it serves a shape, for which another class's
        device may go over to the next shape, until one is reached that misses some."""
        came: dict[int, tuple[int | None, frozenset[int]]] = {}  # shape: from which, by which class
        todo: deque[int] = deque()

        def reach(classes: frozenset[int], before: int | None) -> None:
            for shape in classes:
                if shape not in came:
                    came[shape] = (before, classes)
                    todo.append(shape)

        reach(suiting, None)
        while todo:
            shape = todo.popleft()
            if self._missing[shape] > 0:
                path: list[tuple[int, frozenset[int] | None]] = [(shape, None)]
                before, giver = came[shape]
                while before is not None:
                    path.insert(0, (before, giver))
                    before, giver = came[before]
                return path
            for (giver, served), count in self._serving.items():
                if served == shape and count > 0:
                    reach(giver, shape)
        return None


def _shape(request: Request) -> Request:
    """What a device must be for it, without who asks; two devices are as many as more are."""
    return replace(request, user="", server="", gpus=min(request.gpus, 2), priority=0, term=None)
