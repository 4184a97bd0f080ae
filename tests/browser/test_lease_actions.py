"""Extending and revoking a lease of somebody else, on the pages, by keyboard, in both languages."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accessibility import violations
from playwright.sync_api import expect
from service_page import as_admin, picture
from service_server import running_service
from service_world import UUIDS, World, now

HOUR = timedelta(hours=1)


@pytest.fixture
def termed(world: World) -> World:
    world.stop_server("ada", "")
    world.run_server("ada", term=8 * HOUR, at=now() - HOUR)
    return world


@pytest.mark.parametrize("path", ["devices", "servers", "users/ada/server"])
def test_a_lease_is_revoked_by_keyboard_and_goes_on_again(termed, visit, path):
    with running_service(termed) as service:
        as_admin(service)
        page = visit(service, path)
        page.get_by_role("button", name="Revoke…: ada").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Revoke this lease?")
        minutes = dialog.get_by_label("Minutes from now")
        expect(minutes).to_be_focused()
        expect(minutes).to_have_value("30")
        picture(page, f"revoke-{path.split('/')[0]}")
        assert not violations(page)
        # without a reason nothing is sent
        page.keyboard.press("Enter")
        expect(dialog).to_be_visible()
        assert termed.ledger.lease_of("ada", "").revocation is None
        dialog.get_by_label("Reason").fill("the exam begins")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("status").filter(has_text="is revoked")).to_be_visible()
        expect(page.get_by_text("revoked by root, ends at")).to_be_visible()
        picture(page, f"revoked-{path.split('/')[0]}")
        assert termed.ledger.lease_of("ada", "").revocation.reason == "the exam begins"

        page.get_by_role("button", name="Let it go on…: ada").click()
        dialog = page.get_by_role("dialog", name="Let this lease go on?")
        dialog.get_by_role("button", name="Let it go on").click()
        expect(page.get_by_role("button", name="Revoke…: ada")).to_be_visible()
        assert termed.ledger.lease_of("ada", "").revocation is None


def test_who_is_revoked_reads_why_and_cannot_extend(termed, visit):
    lease = termed.ledger.lease_of("ada", "")
    termed.ledger.revoke(lease.id, 10 * timedelta(minutes=1), "the exam", now(), actor="root")
    with running_service(termed) as service:
        page = visit(service)
        expect(page.get_by_text("root takes the GPUs of this server back")).to_be_visible()
        expect(page.get_by_text("The lease of this server ends")).to_be_visible()
        button = page.get_by_role("button", name="Extend")
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button).to_have_accessible_description(
            "The lease was revoked, so it cannot be extended. Save your work before it ends."
        )
        picture(page, "revoked-own")


def test_a_refused_extension_says_why_in_its_dialog_in_chinese(termed, visit):
    uuid = termed.ledger.lease_of("ada", "").device_uuids[0]
    with running_service(termed) as service:
        as_admin(service)
        page = visit(service, "devices", locale="zh-CN", viewport={"width": 360, "height": 740})
        page.get_by_role("button", name="延长…: ada").click()
        dialog = page.get_by_role("dialog", name="延长此租约？")
        dialog.get_by_label("原因").fill("答辩")
        picture(page, "extend-phone-zh")
        assert not violations(page)
        termed.ledger.drain(uuid, now() + 9 * HOUR, "", now(), actor="root")
        dialog.get_by_role("button", name="延长", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("维护")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_slots_are_changed_by_keyboard_and_a_refusal_stays_in_its_dialog(world, visit):
    with running_service(world) as service:
        as_admin(service)
        page = visit(service, "devices")
        row = page.get_by_role("row").filter(has_text=UUIDS[1])
        row.get_by_role("button", name="Slots…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Share this device?")
        slots = dialog.get_by_label("Slots (empty")
        expect(slots).to_be_focused()
        slots.fill("3")
        picture(page, "slots")
        assert not violations(page)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(row.get_by_text("shared by 3")).to_be_visible()
        picture(page, "slots-changed")
        row.get_by_role("button", name="Slots…").click()
        page.keyboard.press("Enter")  # empty: as configured
        expect(row.get_by_text("shared by")).to_have_count(0)
        page.get_by_role("row").filter(has_text="ada").get_by_role("button", name="Slots…").click()
        slots.fill("2")
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text("Somebody holds this device")
