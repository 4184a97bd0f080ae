"""Who may extend a lease or revoke it, by how much, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

from term_cases import (
    HOUR,
    IDLE,
    MINUTE,
    NOW,
    REVOKED,
    at,
    devices,
    lease,
    stop,
    waiting,
)

from hub_ext.models import (
    Lease,
    LeaseState,
    Revocation,
)
from hub_ext.policy import Rule
from hub_ext.terms import (
    STEP,
    AutoExtend,
    ExtendRefusal,
    Watch,
    look,
    may_be_extended_by,
    may_extend,
)
from hub_ext.usage import QuotaUse, Use

# -- what users may do


def extend(each: Lease, wait=(), policy=IDLE, records=None, **rest):
    return may_extend(each, wait, records or devices([each]), policy, NOW, **rest)


def test_a_user_may_extend_while_nobody_waits():
    running = lease(expires_at=NOW + 2 * HOUR)
    assert extend(running) == (NOW + 3 * HOUR, "")
    assert extend(running, waiting(1)) == (None, ExtendRefusal.WAITED_FOR)
    assert extend(running, waiting(1), records=devices([running], "GPU-free"))[0]
    assert extend(replace(running, expires_at=NOW - MINUTE)) == (NOW + HOUR, "")


def test_nobody_piles_up_more_than_a_term():
    running = lease(expires_at=NOW + 7.5 * HOUR)
    assert extend(running) == (NOW + 8 * HOUR, "")
    assert extend(replace(running, expires_at=NOW + 8 * HOUR)) == (None, ExtendRefusal.FULL)
    endless = replace(IDLE, default=Rule(priority=0, lease_hours=None))
    assert extend(running, policy=endless) == (NOW + 8.5 * HOUR, "")


def test_why_an_extension_is_refused():
    running = lease(expires_at=NOW + HOUR)
    assert extend(lease()) == (None, ExtendRefusal.NO_END)
    held = replace(running, state=LeaseState.HELD)
    assert extend(held) == (None, ExtendRefusal.NOT_RUNNING)
    drained = devices([running], draining=["GPU-a"])
    assert extend(running, records=drained) == (None, ExtendRefusal.DRAINING)
    limited = replace(IDLE, default=Rule(priority=0, lease_hours=8, device_hours=2))
    use = QuotaUse({"user-a": Use(event=3600, devices=1)})
    assert extend(running, policy=limited, used=use) == (None, ExtendRefusal.QUOTA)
    use = QuotaUse({"user-a": Use(event=1800, devices=1)})
    assert extend(running, policy=limited, used=use) == (NOW + 1.5 * HOUR, "")


# -- what admins and instructors may do


def revoked(minutes: int, notice: int = 30, **what) -> Lease:
    """A lease whose revocation is over in so many minutes."""
    until = NOW + minutes * MINUTE
    said = Revocation(until - notice * MINUTE, until, "root", "the exam begins")
    return lease(expires_at=min(until, what.pop("expires_at", until)), revocation=said, **what)


def test_a_revoked_lease_ends_though_nobody_waits():
    it = revoked(0)
    assert at([it]) == (stop(it, REVOKED),)
    assert at([revoked(1)]) == ()
    assert at([it], resetting={("user-a", "")}) == ()


def test_a_revoked_lease_whose_term_is_over_goes_on_until_its_notice_period_is():
    it = revoked(7, expires_at=NOW)
    assert at([it]) == (AutoExtend("l-a", NOW + 7 * MINUTE),)
    assert at([it], waiting(1)) == (stop(it),)  # as any other
    assert at([revoked(60, expires_at=NOW)]) == (AutoExtend("l-a", NOW + STEP),)


def test_at_once_is_at_once_and_a_notice_is_a_notice():
    """A service that was away has told nobody how much time is left."""
    back = Watch(NOW - MINUTE, NOW)
    at_once, with_notice = revoked(-1, notice=0), revoked(-1, notice=30)
    assert at([at_once], watch=back) == (stop(at_once, REVOKED),)
    assert at([with_notice], watch=back) == ()
    later = NOW + 4 * MINUTE
    assert at([with_notice], now=later, watch=look(replace(back, last=later), later)) == (
        stop(with_notice, REVOKED),
    )


def test_the_user_of_a_revoked_lease_may_not_extend_it():
    assert extend(revoked(20)) == (None, ExtendRefusal.REVOKED)


def test_an_admin_may_give_more_than_the_user_may_ask_for():
    def give(each, minutes, records=None, policy=IDLE, **rest):
        records = records or devices([each])
        return may_be_extended_by(each, minutes * MINUTE, records, policy, NOW, **rest)

    running = lease(expires_at=NOW + 8 * HOUR)
    assert extend(running, waiting(1))[0] is None
    assert give(running, 600) == (NOW + 18 * HOUR, "")
    assert give(replace(running, expires_at=NOW - HOUR), 60) == (NOW + HOUR, "")
    drained = devices([running], draining=["GPU-a"])
    assert give(running, 1, drained) == (None, ExtendRefusal.DRAINING)
    assert give(revoked(20), 1) == (None, ExtendRefusal.REVOKED)
    assert give(lease(), 1) == (None, ExtendRefusal.NO_END)
    held = replace(running, state=LeaseState.HELD)
    assert give(held, 1) == (None, ExtendRefusal.NOT_RUNNING)
    limited = replace(IDLE, default=Rule(priority=0, device_hours=12))
    use = QuotaUse({"user-a": Use(event=3 * 3600, devices=1)})
    assert give(running, 60, policy=limited, used=use) == (NOW + 9 * HOUR, "")
    assert give(running, 61, policy=limited, used=use) == (None, ExtendRefusal.QUOTA)
    use = QuotaUse({"user-a": Use(event=4 * 3600, devices=1)})
    assert give(running, 1, policy=limited, used=use) == (None, ExtendRefusal.QUOTA)
