"""Hub, service, Engine and people against each other; lease_checks.py says what must hold.

lease_world.py says what is real and what is modelled. Every call to the ledger, the Engine and the
hub waits until a step lets it end, or fail, or lose its reply; between any two of them both
processes may be killed, hours may pass, devices may fall ill, containers may die.

A step is drawn by the weights of a mood, which the whole example has: with uniform steps most of
them would meet a hub that is down, and nothing would happen.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from lease_checks import Checks
from lease_world import GROUPS, World, request_from
from simulated_process import Outcome, Process

from hub_ext.errors import Conflict
from hub_ext.fair_queue import line_up
from hub_ext.ledger import Ledger
from hub_ext.models import Cordon, Device, LeaseState
from hub_ext.policy import Policy, Pool
from hub_ext.service.api_queue import place_at

STEPS = 60  # of an example
WANTED_STEPS = 10_000

DEVICES = {
    "GPU-a1": Device("GPU-a1", "A100", 80, links=(("GPU-a2", 100),)),
    "GPU-a2": Device("GPU-a2", "A100", 80, links=(("GPU-a1", 100),)),
    "GPU-t1": Device("GPU-t1", "T4", 16),
    "GPU-t2": Device("GPU-t2", "T4", 16),
    "MIG-1": Device("MIG-1", "A100 MIG 1g.10gb", 10, parent="GPU-a3"),
}
UUIDS = sorted(DEVICES)
SHARED = Pool("shared", ("GPU-t2",), slots=2)
POLICIES = [
    Policy(
        pools=pools,
        aging=timedelta(minutes=10),
        idle_after=timedelta(minutes=20),
        warnings=(timedelta(minutes=5),),
        auto_extend=extend,
    )
    for pools in ((SHARED,), (), (replace(SHARED, devices=("GPU-t1", "GPU-t2")),))
    for extend in (True, False)
]
KEYS = [(user, server) for user in GROUPS for server in ("", "two")]
OPTIONS: list[dict[str, object]] = [
    {"gpus": 1},
    {"gpus": 1, "share": True},
    {"gpus": 2},
    {"gpus": 1, "model": "t4"},
    {"gpus": 3},
    {"gpus": 0},
]
SECONDS = [1, 5, 10, 31, 61, 125, 200, 1300, 3600, 7200]

# how often each step is drawn, on a day like any other
WEIGHTS = {
    "someone_starts": 10,
    "someone_starts_and_all_goes_well": 10,
    "someone_stops": 4,
    "someone_resets": 3,
    "someone_extends_or_answers": 1,
    "someone_is_revoked_or_let_go_on": 2,
    "someone_is_moved_or_taken_out_of_the_line": 2,
    "all_go_on": 14,
    "one_call_ends": 8,
    "one_call_fails": 3,
    "time_passes": 5,
    "time_passes_and_all_go_on": 14,
    "the_hub_polls": 3,
    "the_service_reconciles": 8,
    "the_service_looks_at_terms": 4,
    "the_service_looks_at_orphans": 4,
    "the_hub_is_killed": 2,
    "the_hub_starts": 3,
    "the_service_is_killed": 1,
    "the_service_starts": 3,
    "the_engine_goes_away": 2,
    "the_engine_restarts": 1,
    "a_late_call_takes_effect": 3,
    "a_container_dies": 2,
    "a_device_changes": 2,
    "a_scan": 2,
    "an_admin_speaks": 1,
    "the_policy_changes": 1,
    "calm_returns": 2,
}
MOODS = {
    "ordinary": {},
    "crowded": {"someone_starts_and_all_goes_well": 40, "time_passes_and_all_go_on": 20},
    "deadly": {"the_hub_is_killed": 8, "the_hub_starts": 12, "the_service_is_killed": 4},
    "slow": {"time_passes": 20, "one_call_ends": 20, "all_go_on": 3, "the_service_reconciles": 16},
    "flaky": {"one_call_fails": 14, "a_container_dies": 5, "the_engine_restarts": 3},
    "silent": {"the_engine_goes_away": 8, "time_passes_and_all_go_on": 20},
    "resetting": {"someone_resets": 16, "the_service_is_killed": 4, "the_service_starts": 6},
    "ill": {"a_device_changes": 8, "an_admin_speaks": 5, "the_policy_changes": 3},
    "revoked": {"someone_is_revoked_or_let_go_on": 12, "the_service_looks_at_terms": 20},
    "moved": {
        "someone_is_moved_or_taken_out_of_the_line": 25,
        "someone_starts_and_all_goes_well": 40,
    },
    "waiting": {"someone_starts": 25, "time_passes_and_all_go_on": 30, "someone_stops": 8},
}
DRAWN_BY = {
    mood: [name for name, weight in (WEIGHTS | more).items() for _ in range(weight)]
    for mood, more in MOODS.items()
}


@functools.cache
def empty_ledger() -> Path:
    """The file of a new ledger, for copies: migrating takes longer than most runs."""
    folder = tempfile.TemporaryDirectory(prefix="ledger-")
    atexit.register(folder.cleanup)
    ledger = Ledger(f"sqlite:///{folder.name}/ledger.sqlite")
    ledger.migrate()
    ledger.hub_id()
    ledger.close()
    return Path(folder.name) / "ledger.sqlite"


class LeaseMachine(RuleBasedStateMachine):
    executed: Counter[str] = Counter()  # steps of all machines of this process
    happened: Counter[str] = Counter()  # what the audit trails tell

    def __init__(self) -> None:
        super().__init__()
        # in memory where there is such a folder: what a disk does is not the matter here
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="leases-", dir=memory))
        shutil.copy(empty_ledger(), self.folder / "ledger.sqlite")
        self.ledger = Ledger(f"sqlite:///{self.folder / 'ledger.sqlite'}")
        self.database = sqlite3.connect(self.folder / "ledger.sqlite", isolation_level=None)
        self.world = World(self.ledger)
        self.checks = Checks(self.world, self.database)
        self.sick: set[str] = set()
        self.lost: set[str] = set()
        self.steps = self.last_calm = 0
        self.told: list[str] = []  # what soak.py prints of a failure

    def teardown(self) -> None:
        for action, detail in self.checks.rows("SELECT action, detail FROM audit_entry"):
            told = f"{action}: {detail}" if action == "end" else action
            LeaseMachine.happened[told] += 1
        self.world.close()
        self.database.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    @initialize(policy=st.sampled_from(POLICIES), mood=st.sampled_from(sorted(MOODS)))
    def begin(self, policy: Policy, mood: str) -> None:
        self.mood = mood
        self.ledger.set_policy(policy)
        self.scan()
        self.world.start_hub()
        self.world.start_service()

    @rule(chance=st.integers(0, 1023), a=st.integers(0, 1023), b=st.integers(0, 63))
    def step(self, chance: int, a: int, b: int) -> None:
        """`a` and `b` say which: the same numbers mean the same, so that examples shrink well."""
        names = DRAWN_BY[self.mood]
        name = names[chance % len(names)]
        self.told.append(f"{name}({a}, {b})")
        if not getattr(self, name)(a, b):
            name = "what_is_down_comes_back"
            self.told[-1] = f"{name}({a}, {b})"
            self.what_is_down_comes_back(a, b)
        self.steps += 1
        LeaseMachine.executed[name] += 1

    @invariant()
    def what_must_hold(self) -> None:
        self.checks.each_lease_is_sound()
        self.checks.who_keeps_a_place_keeps_it_for_somebody()
        self.checks.nobody_is_stopped_before_their_notice_is_over()
        self.checks.the_queue_keeps_its_order()
        if self.steps % 10 == 0:
            self.checks.use_adds_up()

    # -- people

    def someone_starts(self, a: int, b: int) -> bool:
        hub = self.world.hub
        if hub is None:
            return False
        started = hub.start(request_from(*KEYS[a % len(KEYS)], OPTIONS[b % len(OPTIONS)]))
        hub.process.run_ready()
        return started

    def someone_starts_and_all_goes_well(self, a: int, b: int) -> bool:
        if not self.someone_starts(a, b):
            return False
        self.world.settle()
        return True

    def someone_stops(self, a: int, _b: int) -> bool:
        hub = self.world.hub
        if hub is None or not hub.servers:
            return False
        hub.stop(pick(sorted(hub.servers), a))
        hub.process.run_ready()
        return True

    def someone_resets(self, a: int, _b: int) -> bool:
        service = self.world.service
        if service is None:
            return False
        known = sorted(self.world.hub.servers) if self.world.hub is not None else []
        service.reset(pick(known or KEYS, a))
        return True

    def someone_extends_or_answers(self, a: int, b: int) -> bool:
        running = [each for each in self.ledger.leases() if each.state is LeaseState.RUNNING]
        if not running:
            return False
        lease, now = pick(running, a), self.world.now
        self.ledger.mark_idle(lease.id, now, None, now)
        if lease.expires_at is not None:
            try:
                until = lease.expires_at + timedelta(minutes=1 + b)
                self.ledger.extend(lease.id, until, now, by_user=True)
            except Conflict:
                drained = [e for e in self.ledger.devices() if e.cordon is Cordon.DRAINING]
                assert lease.revocation is not None or any(
                    each.device.uuid in lease.device_uuids for each in drained
                )
        return True

    def someone_is_revoked_or_let_go_on(self, a: int, b: int) -> bool:
        """With a notice period of up to an hour, or at once; now and then it is taken back."""
        leases = [each for each in self.ledger.leases() if each.device_uuids]
        revoked = [each for each in leases if each.revocation is not None]
        if not leases:
            return False
        now = self.world.now
        if b % 3 == 0 and revoked:
            lease = pick(revoked, a)
            try:
                found = self.ledger.undo_revoke(lease.id, now, actor="admin")
            except Conflict:
                assert lease.revocation is not None and lease.revocation.until <= now
                return True
            assert found.revocation is None and found.term_until == lease.term_until
            return True
        lease = pick(leases, a)
        notice = pick([60, 10, 5, 0], b) * timedelta(minutes=1)
        found = self.ledger.revoke(lease.id, notice, "the exam", now, actor="admin")
        assert found.revocation is not None and found.expires_at <= found.revocation.until
        assert lease.expires_at is None or found.expires_at <= lease.expires_at
        return True

    def someone_is_moved_or_taken_out_of_the_line(self, a: int, b: int) -> bool:
        seen = self.ledger.snapshot(self.world.now)
        if not seen.queue:
            return False
        key = pick(seen.queue, a).request.user, pick(seen.queue, a).request.server
        now, what = self.world.now, b % 8
        if what == 0:
            self.ledger.cancel_waiting(*key, "the exam", now, actor="admin")
            assert key not in {(e.request.user, e.request.server) for e in self.ledger.queue()}
        elif what < 3:
            self.ledger.undo_move_in_queue(*key, now, actor="admin")
        else:
            try:
                self.ledger.move_in_queue(
                    *key, functools.partial(place_at, 1 + b // 8), "the demo", now, actor="admin"
                )
            except Conflict:
                return True
            line = [p for p in line_up(self.ledger.snapshot(now)) if p.can_be_served]
            place = next(p for p in line if (p.entry.request.user, p.entry.request.server) == key)
            assert place.position == min(1 + b // 8, len(line))
        return True

    # -- the processes go on

    def what_is_down_comes_back(self, a: int, b: int) -> None:
        """Instead of a step that cannot be taken now."""
        if self.world.engine.away and b % 4 == 0:
            self.world.engine.away = False
        elif self.world.hub is None:
            self.world.start_hub()
        elif self.world.service is None:
            self.world.start_service()
        else:
            self.all_go_on(a, b)

    def all_go_on(self, a: int, _b: int) -> bool:
        self.world.settle(1 + a % 16)
        return True

    def one_call_ends(self, a: int, b: int, outcome: Outcome = Outcome.OK) -> bool:
        if not self.pending():
            return False
        process = pick(self.pending(), a)
        self.world.finish(process, pick(process.calls, b), outcome)
        return True

    def one_call_fails(self, a: int, b: int) -> bool:
        return self.one_call_ends(a // 2, b, (Outcome.ERROR, Outcome.LOST)[a % 2])

    def pending(self) -> list[Process]:
        return [each for each in self.world.processes() if each.calls]

    def time_passes(self, a: int, _b: int) -> bool:
        self.world.time_passes(pick(SECONDS, a))
        return True

    def time_passes_and_all_go_on(self, a: int, b: int) -> bool:
        """With what both processes do every few seconds, as far as they are alive."""
        self.time_passes(a, b)
        if b % 2:
            self.the_hub_polls()
        for service in filter(None, [self.world.service]):
            service.look()
            if b % 4 == 0:
                service.look_at_terms()
            if b % 4 == 2:
                service.look_at_orphans()
        self.world.settle(60)
        return True

    def the_hub_polls(self, _a: int = 0, _b: int = 0) -> bool:
        hub = self.world.hub
        if hub is None:
            return False
        for key in list(hub.servers):
            hub.poll(key)
        hub.keep_queue()
        hub.process.run_ready()
        return True

    def the_service_reconciles(self, a: int, _b: int) -> bool:
        service = self.world.service
        if service is None:
            return False
        service.look()
        self.go_on(service.process, a % 8)
        return True

    def the_service_looks_at_terms(self, a: int, _b: int) -> bool:
        service = self.world.service
        if service is None:
            return False
        service.look_at_terms()
        self.go_on(service.process, a % 16)
        return True

    def the_service_looks_at_orphans(self, a: int, _b: int) -> bool:
        service = self.world.service
        if service is None:
            return False
        service.look_at_orphans()
        self.go_on(service.process, a % 8)
        return True

    def go_on(self, process: Process, calls: int) -> None:
        for _ in range(calls):
            if process.calls:
                self.world.finish(process, process.calls[0])

    # -- what goes wrong

    def the_hub_is_killed(self, a: int, b: int) -> bool:
        """Odd a: its oldest call had its effect already. Most often it is started again at once."""
        if self.world.hub is None:
            return False
        self.world.kill_hub(committed=bool(a % 2))
        self.checks.the_devices_are_safe()
        if b % 3:
            self.world.start_hub()
        return True

    def the_hub_starts(self, _a: int, _b: int) -> bool:
        if self.world.hub is not None:
            return False
        self.world.start_hub()
        return True

    def the_service_is_killed(self, a: int, b: int) -> bool:
        if self.world.service is None:
            return False
        self.world.kill_service(committed=bool(a % 2))
        self.checks.the_devices_are_safe()
        if b % 3:
            self.world.start_service()
        return True

    def the_service_starts(self, _a: int, _b: int) -> bool:
        if self.world.service is not None:
            return False
        self.world.start_service()
        return True

    def the_engine_goes_away(self, _a: int, _b: int) -> bool:
        if self.world.engine.away:
            return False
        self.world.engine.away = True
        return True

    def the_engine_restarts(self, _a: int, _b: int) -> bool:
        self.world.engine.restart()
        return True

    def a_late_call_takes_effect(self, a: int, _b: int) -> bool:
        """One that a process had sent before it was killed."""
        waiting = self.world.engine.in_flight
        if not waiting:
            return False
        effect = waiting.pop(a % len(waiting))
        try:
            effect()
        except Exception:  # refused, or the Engine is away: nobody hears of it
            return True
        finally:
            self.checks.the_devices_are_safe()
        return True

    def a_container_dies(self, a: int, b: int) -> bool:
        engine = self.world.engine
        if not engine.containers:
            return False
        (engine.stop if b % 2 else engine.remove)(pick(sorted(engine.containers), a))
        return True

    # -- devices

    def a_device_changes(self, a: int, b: int) -> bool:
        uuid = pick(UUIDS, a)
        self.sick.discard(uuid)
        self.lost.discard(uuid)
        if b % 4 < 2:
            (self.sick, self.lost)[b % 4].add(uuid)
        self.scan()
        return True

    def a_scan(self, a: int, b: int) -> bool:
        self.scan(backwards=bool(a % 2), nothing=b % 8 == 0, idle=bool(b % 3))
        return True

    def scan(self, *, backwards: bool = False, nothing: bool = False, idle: bool = True) -> None:
        """What the service's inventory finds: in any order, or nothing at all."""
        found = [
            replace(
                device,
                healthy=uuid not in self.sick,
                reason="xid 79" if uuid in self.sick else "",
                compute_processes=0 if idle else None,
                utilization_percent=0 if idle else 99,
            )
            for uuid, device in DEVICES.items()
            if uuid not in self.lost and not nothing
        ]
        self.world.inventory(reversed(found) if backwards else found)

    def an_admin_speaks(self, a: int, b: int) -> bool:
        uuid, now = pick(UUIDS, a), self.world.now
        said = pick([Cordon.NONE, Cordon.NONE, Cordon.CORDONED, Cordon.DRAINING], b)
        if b % 5 == 0:
            slots = pick([1, 3, None], b // 5)
            held = {each.device.uuid for each in self.ledger.devices() if each.lease_ids}
            before = self.ledger.devices()
            try:
                self.ledger.divide(uuid, slots, "workshop", now, actor="admin")
            except Conflict:
                assert uuid in held
            else:
                assert uuid not in held or self.ledger.devices() == before
        elif said is Cordon.DRAINING:
            self.ledger.drain(uuid, now + timedelta(minutes=10), "repair", now, actor="admin")
        else:
            self.ledger.cordon(uuid, said, "look at it", now, actor="admin")
        return True

    def the_policy_changes(self, a: int, _b: int) -> bool:
        """By a restart of the hub."""
        self.world.kill_hub(committed=False)
        self.ledger.set_policy(pick(POLICIES, a))
        self.world.start_hub()
        self.scan()
        return True

    # -- all is well again

    def calm_returns(self, _a: int, _b: int) -> bool:
        if self.steps - self.last_calm < STEPS // 3:
            return False
        self.last_calm = self.steps
        world = self.world
        world.engine.away = False
        world.engine.in_flight.clear()
        world.start_hub()
        world.start_service()
        self.sick.clear()
        self.lost.clear()
        for uuid in DEVICES:
            self.ledger.cordon(uuid, Cordon.NONE, "", world.now, actor="admin")
        self.scan()
        world.settle(2000)  # looks that were under way end
        # the longest patience is 180 s, a reset gives up after 120 + 600 s
        for seconds in (0, 5, 5, 130, 70, 200, 200, 5, 200, 200, 130, 200, 5, 5, 5):
            world.time_passes(seconds)
            if seconds > 5:
                self.the_hub_polls()
            assert world.service is not None
            world.service.look()
            stopping = self.checks.being_stopped()
            world.service.look_at_orphans()
            world.settle(2000)
            assert not self.pending()
            self.checks.nobody_waits_for_an_earlier_hub(stopping | self.checks.being_stopped())
        self.checks.all_is_in_order()
        self.what_is_revoked_ends()
        return True

    def what_is_revoked_ends(self) -> None:
        """The service looks for long enough without a break, and what is due has ended."""
        world = self.world
        # five minutes for those who have not seen that they are revoked, and a while for those of
        # whom the hub does not know
        for _ in range(14):
            world.time_passes(30)
            assert world.service is not None
            world.service.look_at_terms()
            # whose container the hub has lost track of: their lease ends on proof that it is gone
            world.service.look()
            world.settle(2000)
        self.checks.nothing_revoked_is_left_over(timedelta(minutes=1))


def pick(choices, number: int):
    return choices[number % len(choices)]


def machine_settings(examples: int, steps: int = STEPS, **more) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        **more,
    )


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", [1, 2])
def test_leases_are_never_wrong(part: int) -> None:
    """In two parts, one for each core; `make soak` runs a million steps."""
    full = settings.default.max_examples >= 100
    wanted = WANTED_STEPS // 2 if full else WANTED_STEPS // 20
    before = LeaseMachine.executed.total()
    while (done := LeaseMachine.executed.total() - before) < wanted:
        examples = 1 + (wanted - done) // STEPS
        run_state_machine_as_test(LeaseMachine, settings=machine_settings(examples))
    print(f"{done} steps in part {part}: {dict(LeaseMachine.happened.most_common())}")
