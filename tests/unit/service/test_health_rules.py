"""Which XIDs keep a device out, for how long, and that nothing else does."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub_ext.health import (
    ADVICE_XIDS,
    ANY_CARD,
    APPLICATION_XIDS,
    CATALOGUE,
    QUARANTINE,
    XidEvent,
    XidFault,
    assess,
    counts,
    explain,
    from_text,
    note,
    to_text,
)
from hub_ext.models import Device

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CARDS = ["GPU-a", "GPU-b", "GPU-c"]

times = st.datetimes(
    NOW.replace(tzinfo=None) - timedelta(hours=1), NOW.replace(tzinfo=None) + timedelta(hours=1)
).map(lambda at: at.replace(tzinfo=UTC))
xids = st.one_of(st.sampled_from(sorted(CATALOGUE)), st.integers(0, 200))
events = st.lists(
    st.builds(XidEvent, st.sampled_from([*CARDS, ANY_CARD, "GPU-elsewhere"]), xids, times),
    max_size=12,
)
faults = st.dictionaries(
    st.sampled_from([*CARDS, ANY_CARD]),
    st.builds(XidFault, st.lists(xids, min_size=1, max_size=8, unique=True).map(tuple), times),
)


@st.composite
def devices(draw: st.DrawFn) -> tuple[Device, ...]:
    """Whole cards and MIG instances, some of which NVML calls ill."""
    found = []
    for card in draw(st.lists(st.sampled_from(CARDS), unique=True)):
        instances = draw(st.integers(0, 3))
        names = [(f"MIG-{card}-{n}", card) for n in range(instances)] or [(card, "")]
        for uuid, parent in names:
            reason = draw(st.sampled_from(["", "", "its compute mode is Prohibited"]))
            found.append(
                Device(uuid, "A card", 1, parent=parent, healthy=not reason, reason=reason)
            )
    return tuple(found)


@given(devices(), faults)
def test_no_device_is_lost_added_or_made_well(found, known):
    judged = assess(found, known, NOW)
    assert [each.uuid for each in judged] == [each.uuid for each in found]
    for before, after in zip(found, judged, strict=True):
        assert replace(after, healthy=before.healthy, reason=before.reason) == before
        assert before.healthy or not after.healthy
        assert before.reason in after.reason, "what NVML says stays readable"
        assert after.healthy == (not after.reason), "an ill device has a reason"


@given(devices(), faults)
def test_doing_it_twice_is_doing_it_once(found, known):
    once = assess(found, known, NOW)
    assert assess(once, known, NOW) == once


@given(
    devices(),
    st.lists(st.tuples(st.sampled_from(CARDS), st.sampled_from(sorted(APPLICATION_XIDS)), times)),
)
def test_what_programs_cause_never_counts(found, reported):
    known = note({}, [XidEvent(*each) for each in reported], NOW)
    assert assess(found, known, NOW) == found


@given(devices(), events, times)
def test_a_device_is_out_exactly_while_a_fatal_xid_of_its_card_is_recent(found, reported, later):
    known = note({}, reported, NOW)
    for before, after in zip(found, assess(found, known, max(later, NOW)), strict=True):
        card = before.parent or before.uuid
        fatal = [
            min(event.at, NOW)
            for event in reported
            if event.card in (card, ANY_CARD) and counts(event.xid)
        ]
        out = any(at + QUARANTINE > max(later, NOW) for at in fatal)
        assert after.healthy == (before.healthy and not out)


@given(devices(), faults, events)
def test_all_come_back_when_the_time_is_over(found, known, reported):
    known = note(known, reported, NOW)
    then = NOW + QUARANTINE
    assert note(known, (), then) == {}
    assert assess(found, known, then) == found


@given(faults, events, events)
def test_events_may_be_noted_at_once_or_one_by_one(known, some, more):
    at_once = note(known, [*some, *more], NOW)
    one_by_one = note(known, (), NOW)
    for event in [*some, *more]:
        one_by_one = note(one_by_one, [event], NOW)
    assert one_by_one.keys() == at_once.keys()
    assert {c: f.at for c, f in one_by_one.items()} == {c: f.at for c, f in at_once.items()}


@given(faults, events)
def test_an_event_that_is_told_twice_is_one(known, reported):
    once = note(known, reported, NOW)
    assert note(once, reported, NOW) == once


@given(faults)
def test_faults_survive_as_text(known):
    assert from_text(to_text(known)) == known


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "7",
        "[]",
        '{"GPU-a": 7}',
        '{"GPU-a": [[79], "yesterday"]}',
        "null",
        '{"GPU-a": [[79], "2026-11-25T12:00:00"]}',
        '{"GPU-a": [["x"], "2026-11-25T12:00:00Z"]}',
    ],
)
def test_a_text_that_is_none_of_these_is_refused(text):
    with pytest.raises(ValueError):
        from_text(text)


def test_no_text_is_no_fault():
    assert from_text("") == {}


@pytest.mark.parametrize("xid", [46, 48, 62, 64, 74, 79, 95, 119, 120, 140, 154, 92, 999])
def test_fatal_and_unknown_xids_count(xid):
    assert counts(xid)


@pytest.mark.parametrize("xid", [13, 31, 43, 45, 63, 68, 94, 109])
def test_xids_of_programs_and_a_recorded_remap_do_not_count(xid):
    assert not counts(xid)
    assert xid in CATALOGUE


def test_the_reason_names_the_first_xid_with_meaning_and_remedy_and_the_others():
    known = note({}, [XidEvent("GPU-a", xid, NOW) for xid in (79, 154, 79)], NOW)
    (device,) = assess([Device("GPU-a", "A card", 1)], known, NOW)
    assert device.reason == (
        "Xid 79 (GPU has fallen off the bus). Reboot the host; look at power, heat and the PCIe "
        "slot. Then Xid 154. Last seen 2026-11-25 12:00:00 UTC."
    )
    (ill,) = assess([replace(device, reason="NVML says: GPU is lost")], known, NOW)
    assert ill.reason.startswith("NVML says: GPU is lost; Xid 79 (")


def test_every_known_xid_is_explained():
    for xid, known in CATALOGUE.items():
        text = explain(xid)
        assert text.startswith(f"Xid {xid} ({known.meaning})") and text.endswith(".")
    assert "catalogue" in explain(4711)
    assert APPLICATION_XIDS.isdisjoint(ADVICE_XIDS)


def test_a_storm_of_different_xids_stays_short():
    storm = [XidEvent("GPU-a", 200 + number, NOW) for number in range(1000)]
    assert len(note({}, storm, NOW)["GPU-a"].xids) == 8


def test_a_clock_that_was_set_back_does_not_keep_a_device_out_for_longer():
    known = note({}, [XidEvent("GPU-a", 79, NOW + timedelta(days=300))], NOW)
    assert note(known, (), NOW + QUARANTINE) == {}
