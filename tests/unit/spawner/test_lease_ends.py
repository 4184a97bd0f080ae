"""Leases in the order in which they are expected to end: as if each was asked for its end."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from lines import HOUR, NOW, lease, snapshot

from hub_ext.lease_ends import NEVER, expected_end, granted_after, in_order_of_end

HOURS = st.integers(-2, 3).map(lambda hours: hours * HOUR)
LEASES = st.lists(st.tuples(HOURS, st.one_of(HOURS, st.none())), max_size=9).map(
    lambda found: [lease(f"l{n}", ran=ran, left=left) for n, (ran, left) in enumerate(found)]
)


@given(LEASES, st.sampled_from([None, HOUR, 2 * HOUR, 5 * HOUR]))
def test_each_that_is_known_once_and_in_order(leases: list, typical: timedelta | None) -> None:
    seen = snapshot([], (), leases, typical_lease=typical)
    found = list(in_order_of_end(seen))
    moments = [moment for moment, _lease in found]
    assert moments == sorted(moments)
    expected = {
        each.id: expected_end(each.granted_at, each.expires_at, NOW, typical) for each in leases
    }
    known = {name: end for name, end in expected.items() if end[0] < NEVER}
    assert {each.id: moment for moment, each in found} == known
    assert len(found) == len(known)


@given(LEASES, HOURS)
def test_those_granted_after_a_moment(leases: list, ago: timedelta) -> None:
    found = granted_after(NOW - ago, tuple(leases))
    assert {each.id for each in found} == {
        each.id for each in leases if each.granted_at > NOW - ago
    }
    assert list(found) == sorted(found, key=lambda each: each.granted_at)
