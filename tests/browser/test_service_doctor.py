"""GPU doctor from outside, on the service's pages in a real Chromium; see test_service_pages.py."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from playwright.sync_api import expect
from service_page import picture
from service_server import running_service
from service_world import RunnerHangs, World

from hub_ext.verdicts import Verdict


def test_an_instructor_examines_a_server_and_reads_the_report_in_place(
    world: World,
    visit,
):
    runner = RunnerHangs()
    world.run_server("bob")
    with running_service(world, runner=runner) as service:
        service.visitor = service.tokens["instructor-token"]
        page = visit(service, "servers")
        expect(page.get_by_role("row", name="ada")).to_contain_text("not examined yet")
        page.get_by_role("link", name="ada").click()
        card = page.get_by_role("region", name="GPU doctor")
        card.get_by_role("button", name="Examine").focus()
        page.keyboard.press("Enter")
        expect(card.get_by_text("Examining…")).to_be_visible()
        expect(card.get_by_role("button", name="Cancel")).to_be_visible()
        picture(page, "doctor-running")
        card.get_by_role("button", name="Cancel").click()
        expect(card.get_by_text("Cancelled", exact=True)).to_be_visible()
        card.get_by_role("button", name="Examine again").click()
        runner.released = True
        expect(card).to_contain_text("The GPU that was given is not in the container.")
        expect(card).to_contain_text("Report of an examination by kim")
        details = card.get_by_text("Details of GC102")
        details.focus()
        page.keyboard.press("Enter")
        expect(card.get_by_text("/dev: no nvidia0")).to_be_visible()
        # the page looks for news meanwhile: what was unfolded stays
        page.wait_for_timeout(5000)
        expect(card.get_by_text("/dev: no nvidia0")).to_be_visible()
        picture(page, "doctor-report")
        page.get_by_role("link", name="GC102").first.click()
        page.wait_for_url("**/findings/GC102")
        expect(page.get_by_role("heading", level=1)).to_contain_text("GC102")
        picture(page, "doctor-code")
        page.get_by_role("link", name="Class").click()
        page.get_by_role("link", name="As a table").click()
        expect(page.get_by_role("row").nth(1)).to_contain_text("ada")
        expect(page.get_by_role("row", name="ada")).to_contain_text("cannot work")
        picture(page, "servers")


def test_a_failure_says_what_to_do_and_the_pages_speak_chinese_on_a_phone(
    world: World,
    visit,
):
    lease = world.ledger.lease_of("ada", "")
    found = (("GC102", "blocker"), ("GC404", "degraded"))
    world.ledger.keep_verdict(Verdict("ada", "", datetime.now(UTC), found, lease_id=lease.id))
    phone = {"viewport": {"width": 360, "height": 740}, "locale": "zh-CN"}
    with running_service(world) as service:
        service.visitor = service.tokens["instructor-token"]
        page = visit(service, "users/ada/server", **phone, color_scheme="dark")
        card = page.get_by_role("region", name="GPU 医生")
        expect(card).to_contain_text("无法工作")
        card.get_by_role("button", name="重新检查").click()
        expect(card).to_contain_text("检查报告")
        picture(page, "doctor-report-zh")
        world.containers.clear()
        card.get_by_role("button", name="重新检查").click()
        expect(page.get_by_role("alert").filter(has_text="没有运行")).to_be_visible()
        for path in ("servers", "users/ada/server", "findings/GC102"):
            page.goto(service.url + path)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= 360, f"{path} is {width} wide"
            picture(page, f"doctor-{re.sub('/.*', '', path)}-zh")


def test_only_the_page_itself_may_ask(world: World, visit):
    """Another site's request carries the cookie, but not the page's XSRF token."""
    with running_service(world) as service:
        page = visit(service)
        ask = "address => fetch(address, {method: 'POST'}).then(answer => answer.status)"
        for what in ("examine", "cancel"):
            address = f"{service.url}api/v1/users/ada/server/doctor/{what}"
            assert page.evaluate(ask, address) == 403
        assert service.runner.asked == []


def test_what_is_unfolded_stays_so_when_the_report_is_exchanged(world: World, visit):
    with running_service(world) as service:
        service("POST", "api/v1/users/ada/server/doctor/examine")
        page = visit(service)
        card = page.get_by_role("region", name="GPU doctor")
        summary = card.get_by_text("Details of GC102")
        summary.focus()
        page.keyboard.press("Enter")
        expect(card.get_by_text("/dev: no nvidia0")).to_be_visible()
        # another one, with something else in the card
        service("POST", "api/v1/users/ada/server/doctor/examine", "instructor-token")
        expect(card).to_contain_text("Report of an examination by kim")
        expect(card.get_by_text("/dev: no nvidia0")).to_be_visible()
        expect(summary).to_be_focused()
