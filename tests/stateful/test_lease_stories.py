"""Runs of test_lease_machine.py that once went wrong, step by step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lease_world import request_from
from simulated_process import Call, Process
from test_lease_machine import DEVICES, POLICIES, LeaseMachine

from hub_ext.errors import Conflict
from hub_ext.models import LeaseState


@pytest.fixture
def machine() -> Iterator[LeaseMachine]:
    """Hub and service run; there is one device."""
    made = LeaseMachine()
    made.begin(POLICIES[2], "ordinary")
    made.lost = set(DEVICES) - {"GPU-a1"}
    made.scan()
    yield made
    made.teardown()


def run_until(process: Process, name: str) -> Call:
    """Let calls end in order until one of this name waits."""
    while not (found := [each for each in process.calls if each.name == name]):
        process.finish(process.calls[0])
    return found[0]


def look(machine: LeaseMachine) -> None:
    service = machine.world.service
    service.look()
    machine.go_on(service.process, 20)


def test_a_hub_that_stood_still_starts_nothing_under_a_lease_that_has_ended(machine):
    """Three minutes between the lease and its container: reconciling gave the device to another."""
    hub = machine.world.hub
    hub.start(request_from("ann", "", {"gpus": 1}))
    hub.process.run_ready()
    create = run_until(hub.process, "create")
    look(machine)
    machine.world.time_passes(200)
    look(machine)
    assert machine.ledger.lease_of("ann", "") is None
    hub.start(request_from("bob", "", {"gpus": 1}))
    hub.process.run_ready()
    while others := [each for each in hub.process.calls if each is not create]:
        machine.world.finish(hub.process, others[0])
    assert machine.ledger.lease_of("bob", "").state is LeaseState.RUNNING
    machine.world.settle()  # checks after each call that nobody else runs on the device
    assert [each.name for each in machine.world.engine.containers.values()] == ["bob-"]


def test_a_container_that_was_made_since_the_look_keeps_its_lease(machine):
    """The service saw none, and is about to end the lease when the container is there."""
    hub, service = machine.world.hub, machine.world.service
    hub.start(request_from("ann", "", {"gpus": 1}))
    hub.process.run_ready()
    run_until(hub.process, "create")
    look(machine)
    machine.world.time_passes(200)
    service.look()
    end = run_until(service.process, "end")
    run_until(hub.process, "start")
    machine.world.finish(service.process, end)
    machine.world.settle()
    assert machine.ledger.lease_of("ann", "").state is LeaseState.RUNNING
    assert [each.running for each in machine.world.engine.containers.values()] == [True]


def test_a_lease_that_has_ended_names_no_container(machine):
    ledger, now = machine.ledger, machine.world.now
    machine.someone_starts_and_all_goes_well(0, 0)
    lease = ledger.leases()[0]
    ledger.end(lease.id, "looked before", now, if_container="")
    assert ledger.lease(lease.id).state is LeaseState.RUNNING
    machine.world.engine.remove(lease.container_id)
    ledger.end(lease.id, "gone", now, if_container=lease.container_id)
    assert ledger.lease(lease.id).state is LeaseState.ENDED
    with pytest.raises(Conflict):
        ledger.name_container(lease.id, "late", now)
