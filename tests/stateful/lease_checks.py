"""What must hold, of whatever state hub, service, Engine and ledger are in.

After every call that has an effect (`the_devices_are_safe`):

- a (device, slot) has at most one live lease, and exclusive and shared never mix on a device;
- every container that runs has its lease, live; so nobody else has its devices. (One that merely
  exists and does not run has no device; it may be a leftover that reconciling will remove.)

After every step:

- each live lease has an owner; one that is held has a deadline, one that runs a container that it
  names, one with devices the end of its term; a server has at most one;
- the queue is in order of arrival, and who waits keeps their place;
- nobody was stopped as their lease was revoked before the notice period was over;
- use adds up: the ledger's device-seconds are those of all leases ever seen.

After every look of the service: a lease without a container has its patience running.

- who has a place in the line that an admin gave was moved there, or is before somebody who was.

At every grant, but to those whom an admin moved: who asked for the same for the same person later
is not served before. Nobody is overtaken for ever. When a request has waited (11 - priority) *
aging, and is not served for want of devices, whoever came later gets a device that suits it only as
backfill: set aside for someone until a time, and back by then.

When all parts work again: who waited when the hub was killed waits again, or the line forgets them.

When all parts have worked again for a while (`all_is_in_order`): each lease has its one running
container, each container its lease, nobody holds anything for nobody, and whoever can be served is;
and when the terms were looked at for a while, no lease is left that was revoked and is due.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fake_engine_world import Container
from lease_world import BEGAN, GROUPS, Service, World

from hub_ext.fair_queue import decide
from hub_ext.ledger import Ledger
from hub_ext.models import FINAL_STEPS, Key, Lease, LeaseState, Request, Snapshot
from hub_ext.placement import suits
from hub_ext.queue_order import TOP


class Checks:
    """They look at the tables themselves, past the ledger's own code, where that is possible."""

    world: World
    ledger: Ledger
    database: sqlite3.Connection

    def __init__(self, world: World, database: sqlite3.Connection) -> None:
        self.world, self.ledger, self.database = world, world.ledger, database
        self.places: dict[tuple[str, str], int] = {}
        self.last_sequence = 0
        world.after_call = self.the_devices_are_safe
        world.after_look = self.what_lacks_a_container_has_its_patience_running
        world.on_grant = self.nobody_is_overtaken_for_ever

    def all_is_in_order(self) -> None:
        assert self.ledger.unfinished_operations() == ()
        leases = {each.id: each for each in self.ledger.leases()}
        containers: dict[str, list[Container]] = defaultdict(list)
        for container in self.world.engine.containers.values():
            assert container.lease_id in leases, f"{container} has no live lease"
            containers[container.lease_id].append(container)
        for lease in leases.values():
            assert lease.state is LeaseState.RUNNING, f"{lease} is not running"
            assert [(each.id, each.running) for each in containers[lease.id]] == [
                (lease.container_id, True)
            ]
        hub = self.world.hub
        assert {server.phase for server in hub.servers.values()} <= {"running", "spawn"}
        seen = self.ledger.snapshot(self.world.now)
        waiting = {(each.request.user, each.request.server) for each in seen.queue}
        assert waiting == {key for key, each in hub.servers.items() if each.phase == "spawn"}
        assert decide(seen).grants == {}

    def being_stopped(self) -> set[Key]:
        """Whom a look of the service leaves to the next one."""
        hub = self.world.hub
        return {key for key, each in hub.servers.items() if each.phase == "stop"} if hub else set()

    def nobody_waits_for_an_earlier_hub(self, left: Collection[Key]) -> None:
        """After a look of the service that reached the hub; `left` were being stopped then."""
        snapshot = self.ledger.snapshot(self.world.now)
        for entry in snapshot.queue:
            key = (entry.request.user, entry.request.server)
            assert entry.waiter == snapshot.run or key in left, f"{entry} waits"

    def rows(self, query: str) -> list[tuple]:
        return self.database.execute(query).fetchall()

    def the_devices_are_safe(self) -> None:
        slots = self.rows(
            "SELECT slot.device_uuid, slot.slot, slot.shared, lease.id, lease.state, device.shared,"
            " device.slots FROM slot LEFT JOIN lease ON lease.id = slot.lease_id"
            " LEFT JOIN device ON device.uuid = slot.device_uuid"
        )
        holders: dict[str, list[str]] = defaultdict(list)
        modes: dict[str, set[int]] = defaultdict(set)
        numbers = set()
        for uuid, number, shared, lease_id, state, device_shared, device_slots in slots:
            assert state is not None and state != LeaseState.ENDED.value
            assert shared == device_shared and 0 <= number < device_slots
            assert (uuid, number) not in numbers
            numbers.add((uuid, number))
            holders[uuid].append(lease_id)
            modes[uuid].add(shared)
        for uuid, held_by in holders.items():
            assert len(modes[uuid]) == 1, f"{uuid} is exclusive and shared"
            assert len(held_by) == 1 or modes[uuid] == {1}, f"{uuid} is held by {held_by}"
        for container in self.world.engine.running():
            for uuid in container.devices:
                assert container.lease_id in holders[uuid], (
                    f"{container} runs, and {uuid} is held by {holders[uuid]}"
                )

    def each_lease_is_sound(self) -> None:
        self.the_devices_are_safe()
        live = self.rows(
            "SELECT id, user_name, server_name, state, container_id, hold_until, expires_at,"
            " EXISTS (SELECT 1 FROM slot WHERE slot.lease_id = lease.id) FROM lease"
            " WHERE state != 'ended'"
        )
        for lease_id, user, _server, state, container_id, hold_until, expires_at, devices in live:
            assert user, lease_id
            assert state != LeaseState.HELD.value or hold_until is not None
            assert state != LeaseState.RUNNING.value or container_id
            assert not devices or expires_at is not None
        servers = [(user, server) for _id, user, server, *_ in live]
        assert len(servers) == len(set(servers))
        running = {each.lease_id for each in self.world.engine.running()}
        assert running <= {row[0] for row in live}

    def nobody_is_stopped_before_their_notice_is_over(self) -> None:
        for detail, at in self.rows(
            "SELECT detail, at FROM notice WHERE kind = 'stopped_as_revoked'"
        ):
            occasion = json.loads(detail)["occasion"]
            ((until,),) = self.rows(f"SELECT revoke_until FROM lease WHERE id = '{occasion}'")  # noqa: S608
            assert until is not None and moment(until) <= moment(at), occasion

    def nothing_revoked_is_left_over(self, patience: timedelta) -> None:
        """When the service has looked for a while, with hub and Engine at its service."""
        for lease in self.ledger.leases():
            said = lease.revocation
            due = said is not None and said.until < self.world.now - patience
            assert not (due and lease.state is LeaseState.RUNNING), f"{lease} goes on"

    def the_queue_keeps_its_order(self) -> None:
        queue = self.rows("SELECT user_name, server_name, sequence FROM queue_entry ORDER BY 3")
        places = {}
        for user, server, sequence in queue:
            before = self.places.get((user, server))
            assert sequence == before or sequence > self.last_sequence, "a place was lost"
            places[user, server] = sequence
        self.last_sequence = max([self.last_sequence, *places.values()])
        self.places = places

    def what_lacks_a_container_has_its_patience_running(
        self, service: Service, began: datetime, before: tuple[Lease, ...]
    ) -> None:
        """After a look that listed the containers, which `before` it were the live leases."""
        if service.monitor.health.engine_error:
            return
        listed = {each.lease_id for each in service.monitor.health.containers}
        counted = {name.split()[0] for name in service.monitor._plan.odd_since}
        now = {each.id: each for each in self.ledger.leases()}
        for lease in before:
            same = now.get(lease.id)
            if same is None or same.state is not lease.state or lease.state is LeaseState.HELD:
                continue
            reset = self.ledger.operation_of(lease.user, lease.server)
            if lease.id in listed or (reset is not None and reset.updated_at >= began):
                continue
            if reset is None or reset.step in FINAL_STEPS:
                assert lease.id in counted, f"nobody counts for {lease}"

    def who_keeps_a_place_keeps_it_for_somebody(self) -> None:
        boosts = self.rows("SELECT boost, moved_at IS NOT NULL FROM queue_entry WHERE boost > 0")
        assert not boosts or any(was_moved for _boost, was_moved in boosts)

    def use_adds_up(self) -> None:
        expected: dict[str, float] = defaultdict(float)
        for user, granted, ended, given_back, slots in self.rows(
            "SELECT user_name, granted_at, ended_at, given_back_at, slots FROM lease_device"
            " JOIN lease ON lease.id = lease_device.lease_id"
        ):
            until = moment(given_back) or moment(ended) or self.world.now
            seconds = (until - moment(granted)).total_seconds()
            expected[user] += max(seconds, 0.0) / slots
        now = self.world.now
        found: dict[str, float] = defaultdict(float)
        for row in self.ledger.usage(BEGAN.date(), now.date(), now):
            if row.group == "":
                found[row.user] += row.seconds
        for user in GROUPS:
            assert found[user] == pytest.approx(expected[user], abs=0.01)

    def nobody_is_overtaken_for_ever(
        self, seen: Snapshot, request: Request, chosen: tuple[str, ...]
    ) -> None:
        key = (request.user, request.server)
        mine = next((e for e in seen.queue if (e.request.user, e.request.server) == key), None)
        if mine is None or not chosen:
            return
        records = {each.device.uuid: each for each in seen.devices}
        decision = decide(seen)
        for earlier in seen.queue:
            if mine.boost > earlier.boost:
                continue  # an admin put it there
            if earlier.sequence < mine.sequence and earlier.waiter == mine.waiter:
                twin = replace(earlier.request, server=request.server) == request
                granted = (request.user, earlier.request.server) in decision.grants
                assert granted or not twin, f"{request} goes before {earlier}"
        for earlier in self.at_the_top(seen, before=mine.sequence):
            other = earlier.request
            if mine.boost > earlier.boost:
                continue
            if (other.user, other.server) in decision.grants:
                continue  # it has what it needs, and takes it at its next look
            for uuid in chosen:
                if suits(records[uuid].device, other, seen.policy):
                    until = [
                        each.at
                        for each in decision.reservations.values()
                        if uuid in each.device_uuids and each.at is not None
                    ]
                    assert (
                        until
                        and request.term is not None
                        and any(seen.now + request.term <= at for at in until)
                    ), f"{request} goes before {earlier} with {uuid}"

    def at_the_top(self, seen: Snapshot, before: int) -> Iterator:
        for entry in seen.queue:
            waited = (seen.now - entry.enqueued_at) // seen.policy.aging
            if entry.sequence >= before or entry.request.priority + waited < TOP:
                continue
            if entry.waiter != seen.run:
                continue  # an orphan: after two minutes it does not count
            fitting = [
                each
                for each in seen.devices
                if each.accepts and suits(each.device, entry.request, seen.policy)
            ]
            if len(fitting) >= entry.request.gpus > 0:
                yield entry


def moment(text: str | None) -> datetime | None:
    """A time as the ledger's tables hold it."""
    if text is None:
        return None
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
