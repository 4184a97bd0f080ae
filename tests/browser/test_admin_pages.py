"""The admin's pages in a real Chromium, with pictures in artifacts/browser."""

from __future__ import annotations

from datetime import timedelta

from accessibility import violations
from class_of_eight import fill, samples
from playwright.sync_api import expect
from service_page import picture
from service_server import running_service
from service_world import UUIDS, now
from traitlets.config import Config

from hub_ext.defaults import hub_settings
from hub_ext.models import Device, Request
from hub_ext.reconcile import ContainerFact


def device(uuid: str, **more) -> Device:
    return Device(uuid, "Simulated A100 (practice)", 40 * 2**30, simulated=True, **more)


def ill_for_a_while(world) -> None:
    """The first device was ill twice of late, and the second one is."""
    for hours, reason in ((30, "Xid 79"), (29, ""), (5, "NVML cannot read the card"), (4.9, "")):
        first = device(UUIDS[0], healthy=not reason, reason=reason)
        world.ledger.record_inventory([first, device(UUIDS[1])], now() - timedelta(hours=hours))


def test_an_admin_reads_the_history_of_a_device(world, visit):
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
        expect(page.locator("#health")).to_contain_text("missing", timeout=60_000)
        phone = visit(service, f"devices/{UUIDS[0]}", viewport={"width": 360, "height": 740})
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        picture(phone, "device-phone")


def busy_day(world) -> None:
    """A shared and an exclusive device, with leases of a day."""
    ledger = world.ledger
    world.stop_server("ada", "")
    ledger.divide(UUIDS[1], 2, "", now(), actor="root")
    for ago, lasted, user in (
        (20, 3, "ada"), (16, 2.5, "bob"), (13, 0.3, "cleo"), (12, 4, "dan"), (6, 4, "eve"),
    ):  # fmt: skip
        begin = now() - timedelta(hours=ago)
        world.run_server(user, at=begin, term=timedelta(hours=8))
        ledger.end(ledger.lease_of(user, "").id, "stopped", begin + timedelta(hours=lasted))
    world.run_server("finn", at=now() - timedelta(hours=1.5), term=timedelta(hours=3))
    for user, hours in (("gus", 9), ("hana", 5)):
        lease = ledger.acquire(
            Request(user, "", 1, share=True, term=timedelta(hours=12)),
            lambda _snapshot: [UUIDS[1]],
            now() - timedelta(hours=hours),
        )
        container = ContainerFact(f"c-{user}", lease.id, user, "", True, 1, "image")
        world.containers.append(container)
        ledger.mark_running(lease.id, container.id, now() - timedelta(hours=hours))


def test_an_admin_reads_leases_on_a_time_line(world, visit):
    ill_for_a_while(world)
    busy_day(world)
    with running_service(world) as service:
        service.visitor = service.tokens["admin-token"]
        page = visit(service)
        page.get_by_role("link", name="Leases").click()
        expect(page.locator(".time-line .live")).to_have_count(3)
        picture(page, "leases")
        page.get_by_role("link", name="7 days").click()
        expect(page.locator(".time-line .live")).to_have_count(3)
        page.get_by_role("searchbox", name="User").fill("finn")
        page.get_by_role("button", name="Show").click()
        expect(page.locator(".time-line .live")).to_have_count(1)
        expect(page.locator("#leases tbody tr")).to_have_count(1)
        # by keyboard the table is reached, and the picture's bars are passed over
        stops = page.evaluate(
            "document.querySelectorAll('.time-line a:not([tabindex=\"-1\"])').length"
        )
        assert stops == 0
        page.get_by_role("button", name="Revoke…: finn").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Reason").fill("maintenance")
        dialog.get_by_role("button", name="Revoke").click()
        expect(page.locator("#leases")).to_contain_text("maintenance", timeout=60_000)
        phone = visit(service, "leases", viewport={"width": 360, "height": 740})
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        picture(phone, "leases-phone")


def test_an_admin_reads_the_settings_in_force(world, visit):
    config = Config()
    config.GPUDockerSpawner.max_gpus = 4
    config.GPUDockerSpawner.image = "gpucamp/torch-cuda@sha256:" + "ab" * 32
    config.Spawner.environment = {"HF_TOKEN": "secret"}
    config.GpuPolicy.pools = {"class": {"devices": "*", "slots": 4, "groups": ["class-a"]}}
    world.ledger.set_settings(hub_settings(config), now())
    with running_service(world) as service:
        service.visitor = service.tokens["admin-token"]
        page = visit(service, "devices")
        page.get_by_role("link", name="Settings").click()
        expect(page.locator("tr.changed")).to_have_count(4)
        page.get_by_role("link", name="Only those that somebody set").click()
        expect(page.locator("tbody tr")).to_have_count(4)
        page.get_by_text("What it does: max_gpus").click()
        expect(page.get_by_text("The largest number of GPUs")).to_be_visible()
        picture(page, "settings")
        assert violations(page) == []
        phone = visit(service, "settings", viewport={"width": 360, "height": 740})
        assert phone.evaluate("document.documentElement.scrollWidth") <= 360
        picture(phone, "settings-phone")
