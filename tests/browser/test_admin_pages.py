"""The admin's pages in a real Chromium, with pictures in artifacts/browser."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import expect
from service_server import running_service
from service_world import UUIDS, now
from test_class_page import fill, samples
from test_service_pages import picture, visit, world  # noqa: F401  (fixtures)

from hub_ext.models import Device


def device(uuid: str, **more) -> Device:
    return Device(uuid, "Simulated A100 (practice)", 40 * 2**30, simulated=True, **more)


def ill_for_a_while(world) -> None:  # noqa: F811
    """The first device was ill twice of late, and the second one is."""
    for hours, reason in ((30, "Xid 79"), (29, ""), (5, "NVML cannot read the card"), (4.9, "")):
        first = device(UUIDS[0], healthy=not reason, reason=reason)
        world.ledger.record_inventory([first, device(UUIDS[1])], now() - timedelta(hours=hours))


def test_an_admin_reads_the_history_of_a_device(world, visit):  # noqa: F811
    fill(world)
    ill_for_a_while(world)
    with running_service(world) as service:
        samples(service)
        service.visitor = service.tokens["admin-token"]
        page = visit(service, "devices")
        page.get_by_role("link", name="Simulated A100 (practice)").first.click()
        expect(page.get_by_role("heading", name="Health", exact=True)).to_be_visible()
        expect(page.locator("#health")).to_contain_text("NVML cannot read the card")
        expect(page.locator(".strip .health-quarantined")).to_have_count(2)
        picture(page, "device")
        page.get_by_role("link", name="1 day").click()
        expect(page.locator(".strip .health-quarantined")).to_have_count(1)
        # what happens meanwhile comes by itself
        world.ledger.record_inventory([device(UUIDS[1])], now())
        expect(page.locator("#health")).to_contain_text("missing", timeout=20_000)
        phone = visit(service, f"devices/{UUIDS[0]}", viewport={"width": 360, "height": 740})
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        picture(phone, "device-phone")
