"""Which image new servers get, as the ledger keeps it."""

from __future__ import annotations

from datetime import timedelta

from hub_ext.images import ImagePin

OLD, NEW, OTHER = (f"sha256:{letter * 64}" for letter in "abc")


def actions(ledger) -> list[tuple[str, str, str, str]]:
    found = [each for each in ledger.audit_trail() if each.action.startswith("image.")]
    return [(each.actor, each.action, each.detail, each.reason) for each in found]


def test_a_pin_counts_until_the_configured_image_takes_it_away(ledger, now):
    assert ledger.image_for(OLD) == OLD
    ledger.pin_image(OLD, NEW, "a mended torch", now, actor="root")
    assert ledger.image_for(OLD) == NEW
    assert ledger.image_pin(OLD) == ImagePin(OLD, NEW, now, "root", "a mended torch")
    ledger.pin_image(OLD, OTHER, "better", now, actor="root")
    assert ledger.image_for(OLD) == OTHER
    ledger.pin_image(OLD, OLD, "as before", now, actor="kim")
    assert ledger.image_for(OLD) == OLD
    assert ledger.image_pin(OLD) is None
    assert actions(ledger) == [
        ("root", "image.pin", NEW, "a mended torch"),
        ("root", "image.pin", OTHER, "better"),
        ("kim", "image.unpin", OLD, "as before"),
    ]


def test_twice_is_once(ledger, now):
    ledger.pin_image(OLD, OLD, "nothing to take away", now, actor="root")
    assert actions(ledger) == []
    ledger.pin_image(OLD, NEW, "first", now, actor="root")
    ledger.pin_image(OLD, NEW, "second", now + timedelta(minutes=1), actor="kim")
    assert ledger.image_pin(OLD) == ImagePin(OLD, NEW, now, "root", "first")
    assert len(actions(ledger)) == 1


def test_a_pin_is_about_what_is_configured_and_rests_when_another_image_is(ledger, now):
    """Also for groups whose servers have an image of their own."""
    ledger.pin_image(OLD, NEW, "a mended torch", now, actor="root")
    assert ledger.image_for(OTHER) == OTHER
    assert ledger.image_for(NEW) == NEW
    assert ledger.image_for(OLD) == NEW


def test_the_service_learns_from_the_hub_what_is_configured(ledger, now):
    assert ledger.configured_image() is None
    assert ledger.image_in_force(OTHER) == OTHER
    ledger.set_configured_image(OLD)
    assert ledger.image_in_force(OTHER) == OLD
    ledger.pin_image(OLD, NEW, "a mended torch", now, actor="root")
    assert ledger.image_in_force(OTHER) == NEW
    ledger.set_configured_image(OTHER)
    assert ledger.configured_image() == OTHER
    assert ledger.image_in_force(OLD) == OTHER


def test_pins_are_no_history_that_is_deleted(ledger, now):
    ledger.pin_image(OLD, NEW, "a mended torch", now, actor="root")
    ledger.prune(now + timedelta(days=1000))
    assert ledger.image_for(OLD) == NEW
