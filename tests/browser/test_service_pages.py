"""The service's pages in a real Chromium, with a hub that is slow, failing or away.

The service and its ledger are real; hub and Engine are those of tests/fakes/service_world.py, which
can be made to fail on time. The whole chain with a real hub and Engine is in test_journey.py.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from resets import reset
from service_page import SlowHub, as_admin, picture
from service_server import person, running_service
from service_world import (
    UUIDS,
    HubFailsToStart,
    HubLetsWait,
    World,
    now,
)

from hub_ext import scopes
from hub_ext.models import Cordon, NoticeKind, Request
from hub_ext.policy import Policy, Rule
from hub_ext.service.hub_api import HubServer
from hub_ext.space import GIB, VolumeFact


def test_a_reset_by_keyboard_leads_back_into_the_lab(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        page = visit(service)
        expect(page.get_by_text("Running", exact=True)).to_be_visible()
        expect(page.get_by_text("simulated", exact=True)).to_be_visible()
        picture(page, "environment")
        page.get_by_role("button", name="Reset environment…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Reset your environment?")
        expect(dialog).to_contain_text("packages that were installed")
        expect(dialog).to_contain_text("all files in ~/work")
        # the safe answer has the focus: a second Enter must not reset
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        picture(page, "dialog")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        assert world.ledger.operation_of("ada", "") is None
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("Stopping the server")).to_be_visible()
        picture(page, "progress")
        page.wait_for_url("**/user/ada/")
        assert world.ledger.environment("ada", "").generation == 2

        # a page opened after the end is read, not left
        page.goto(f"{service.url}operations/{world.ledger.operation_of('ada', '').id}")
        expect(page.get_by_text("The environment is fresh.")).to_be_visible()
        page.wait_for_timeout(2000)
        expect(page).to_have_url(re.compile(r"/operations/"))
        expect(page.get_by_text("Taking you back")).to_be_hidden()

        page.goto(service.url)
        page.get_by_role("button", name="Go back to an earlier environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Go back").click()
        page.wait_for_url("**/user/ada/")
        assert world.ledger.environment("ada", "").generation == 1


def test_the_progress_page_outlives_a_hub_that_is_away(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        page = visit(service)
        page.get_by_role("button", name="Reset environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/operations/*")
        service.hub_down = True
        expect(page.get_by_text("No answer from the service")).to_be_visible(timeout=60_000)
        service.hub_down = False
        page.wait_for_url("**/user/ada/", timeout=30_000)


def test_a_failure_says_what_to_do(world, visit):
    with running_service(world, hub=HubFailsToStart(world)) as service:
        page = visit(service)
        page.get_by_role("button", name="Reset environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/operations/*")
        alert = page.get_by_role("alert").filter(has_text="did not start")
        expect(alert).to_contain_text("The image is gone", timeout=60_000)
        expect(alert).to_contain_text("Start it from JupyterHub")
        picture(page, "failure")
        expect(page.get_by_role("button", name="Try again")).to_be_hidden()
        page.get_by_role("link", name="Start the server").click()
        page.wait_for_url("**/hub/spawn/ada")


def test_a_refusal_stays_in_the_dialog(world, visit):
    with running_service(world) as service:
        page = visit(service)
        page.get_by_role("button", name="Reset environment…").click()
        service.hub_down = True
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        expect(page.get_by_role("dialog").get_by_role("alert")).to_contain_text(
            "JupyterHub did not answer", timeout=60_000
        )
        assert world.ledger.operation_of("ada", "") is None
        service.hub_down = False
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/user/ada/")


def test_the_page_follows_what_happens_elsewhere(world, visit):
    with running_service(world) as service:
        page = visit(service)
        world.stop_server("ada", "")
        expect(page.get_by_text("Stopped", exact=True)).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="Start the server")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_speaks_chinese(world, visit, scheme):
    with running_service(world) as service:
        phone = {
            "viewport": {"width": 360, "height": 740},
            "locale": "zh-CN",
            "color_scheme": scheme,
        }
        page = visit(service, **phone)
        expect(page.get_by_role("heading", name="我的环境")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("button", name="重置环境…").click()
        expect(page.get_by_role("dialog")).to_contain_text("安装过的软件包")
        picture(page, f"phone-{scheme}")
        page.keyboard.press("Escape")
        page.get_by_role("link", name="English").click()
        expect(page.get_by_role("heading", name="My environment")).to_be_visible()
        page.reload()
        expect(page.get_by_role("heading", name="My environment")).to_be_visible()


def test_an_admin_finds_a_participant_by_device(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        service.visitor = service.tokens["admin-token"]
        page = visit(service)
        page.get_by_role("link", name="Devices").click()
        picture(page, "devices")
        page.get_by_role("link", name="ada").click()
        expect(page.get_by_role("heading", name="Environment of ada")).to_be_visible()


def test_an_instructor_resets_for_a_participant(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        service.visitor = service.tokens["instructor-token"]
        page = visit(service)
        expect(page.get_by_role("link", name="Devices")).to_have_count(0)
        page.goto(page.url + "users/ada/server")
        expect(page.get_by_role("heading", name="Environment of ada")).to_be_visible()
        page.get_by_role("button", name="Reset environment…").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_role("button", name="Reset environment").click()
        expect(dialog).to_be_visible()
        assert world.ledger.operation_of("ada", "") is None, "without a reason"
        dialog.get_by_label("Reason (ada reads it)").fill("a <b>broken</b> torch")
        picture(page, "reset-for-another")
        dialog.get_by_role("button", name="Reset environment").click()
        page.wait_for_url("**/operations/*")
        expect(page.get_by_text("kim asked for it: “a <b>broken</b> torch”.")).to_be_visible()
        expect(page.get_by_text("The environment is fresh.")).to_be_visible(timeout=60_000)
        # it is not the instructor's server: nobody is led into it
        page.wait_for_timeout(2000)
        expect(page).to_have_url(re.compile(r"/operations/"))
        service.visitor = service.tokens["ada-token"]
        page = visit(service)
        expect(page.get_by_text("kim reset the environment of this server: “a <b>")).to_be_visible()
        picture(page, "reset-by-another")


def test_a_teacher_resets_a_class(world, visit):
    world.users |= {f"pupil-{n}": ("class-1",) for n in range(6)} | {"ada": ("class-1",)}
    with running_service(world, hub=SlowHub(world)) as service:
        service.tokens["teacher"] = person(
            "tea",
            f"{scopes.ENVIRONMENT_READ}!group=class-1",
            f"{scopes.ENVIRONMENT_RESET}!group=class-1",
        )
        service.visitor = service.tokens["teacher"]
        page = visit(service)
        page.get_by_role("link", name="Groups").click()
        picture(page, "groups")
        page.get_by_role("link", name="class-1").click()
        page.get_by_role("button", name="Reset everyone…").click()
        dialog = page.get_by_role("dialog", name="Reset everyone in class-1?")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        dialog.get_by_label("Reason").fill("the exam begins")
        picture(page, "group-dialog")
        dialog.get_by_role("button", name="Reset everyone").click()
        expect(page.get_by_text("The group is being reset.")).to_be_visible()
        picture(page, "group-under-way")
        expect(page.get_by_text("7 of 7 done")).to_be_visible(timeout=60_000)
        expect(page.get_by_role("button", name="Reset everyone…")).to_be_visible()
        picture(page, "group-done")
        phone = {"viewport": {"width": 360, "height": 740}, "locale": "zh-CN"}
        page = visit(service, "groups/class-1", color_scheme="dark", **phone)
        expect(page.get_by_role("heading", name="分组 class-1")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        picture(page, "group-phone")


def test_after_two_failed_starts_a_reset_is_offered(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        world.stop_server("ada", "")
        world.ledger.add_failed_start("ada", "", 1, now())
        page = visit(service)
        expect(page.get_by_role("link", name="Start the server")).to_be_visible()
        expect(page.get_by_text("times in a row")).to_have_count(0)
        world.ledger.add_failed_start("ada", "", 1, now())
        offer = page.get_by_role("alert").filter(has_text="did not start 2 times in a row")
        expect(offer).to_be_visible(timeout=60_000)
        picture(page, "offer")
        offer.get_by_role("button", name="Reset environment…").click()
        page.get_by_role("dialog").get_by_role("button", name="Reset environment").click()
        expect(page.get_by_text("The environment is fresh.")).to_be_visible(timeout=60_000)
        page.get_by_role("link", name="Start the server").click()
        assert world.ledger.failed_starts("ada", "") == 0


def test_either_of_two_generations_can_be_gone_back_to(world, visit):
    with running_service(world, hub=SlowHub(world)) as service:
        for _ in range(2):
            reset(world.ledger, "ada", "", now())
        page = visit(service)
        page.get_by_role("button", name="Go back to an earlier environment…").click()
        dialog = page.get_by_role("dialog", name="Go back to an earlier environment?")
        expect(dialog.get_by_label("Generation 2")).to_be_checked()
        expect(dialog).to_contain_text("Kept for 2 more resets.")
        expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
        picture(page, "undo-dialog")
        dialog.get_by_label("Generation 1").check()
        dialog.get_by_role("button", name="Go back").click()
        page.wait_for_url("**/user/ada/")
        found = world.ledger.environment("ada", "")
        assert (found.generation, [kept.generation for kept in found.kept]) == (1, [3, 2])


# -- leases


@pytest.fixture
def termed(world: World) -> World:
    """ada's lease ends in eight minutes, of two hours."""
    world.stop_server("ada", "")
    world.ledger.set_policy(
        Policy(default=Rule(lease_hours=2.0, max_devices=2, device_hours_per_day=30.0))
    )
    hours = timedelta(hours=2)
    world.run_server("ada", term=hours, at=now() - hours + timedelta(minutes=8))
    return world


def same_page(page: Page) -> None:
    """Marks the page; `still_there` fails if it was loaded anew."""
    page.evaluate("window.gpucampMark = true")


def still_there(page: Page) -> None:
    assert page.evaluate("window.gpucampMark") is True, "the page was loaded anew"


def test_a_lease_is_extended_by_keyboard_and_the_focus_stays(termed, visit):
    with running_service(termed) as service:
        page = visit(service)
        same_page(page)
        expect(page.get_by_text("The lease of this server ends in")).to_be_visible()
        expect(page.get_by_text(re.compile("in [78] minutes")).first).to_be_visible()
        picture(page, "lease-ends-soon")
        button = page.get_by_role("button", name="Extend")
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status").filter(has_text="was extended")).to_be_visible()
        expect(button).to_be_focused()
        assert termed.ledger.lease_of("ada", "").extensions == 1
        expect(page.get_by_text("extended once")).to_be_visible()
        expect(page.get_by_text("The lease of this server ends in")).to_have_count(0)
        still_there(page)


def test_a_button_that_cannot_extend_says_why_and_follows_the_line(termed, visit):
    with running_service(termed) as service:
        page = visit(service)
        same_page(page)
        button = page.get_by_role("button", name="Extend")
        button.focus()
        termed.ledger.enqueue(Request("bob", "", 2), now())
        expect(page.get_by_text("1 other person waits for a GPU like yours")).to_be_visible(
            timeout=60_000
        )
        expect(button).to_be_focused()
        expect(button).to_have_attribute("aria-disabled", "true")
        expect(button).to_have_accessible_description(re.compile("waits for a GPU like yours"))
        picture(page, "extension-refused")
        page.keyboard.press("Enter")
        page.wait_for_timeout(500)
        assert termed.ledger.lease_of("ada", "").extensions == 0
        termed.ledger.withdraw("bob", "")
        expect(button).not_to_have_attribute("aria-disabled", "true", timeout=60_000)
        still_there(page)


def test_whoever_uses_idle_devices_says_so(termed, visit):
    lease = termed.ledger.lease_of("ada", "")
    termed.ledger.mark_idle(
        lease.id, now() - timedelta(minutes=30), now() + timedelta(minutes=9), now()
    )
    with running_service(termed) as service:
        page = visit(service)
        alert = page.get_by_role("alert").filter(has_text="do nothing while others wait")
        expect(alert).to_contain_text(re.compile("in [89] minutes"))
        picture(page, "idle")
        page.get_by_role("button", name="I am using it").click()
        expect(alert).to_have_count(0)
        expect(page.get_by_role("status").filter(has_text="stay with this server")).to_be_visible()
        assert termed.ledger.lease_of("ada", "").reclaim_at is None


def test_notices_are_read_and_dismissed(world, visit):
    world.ledger.notify("ada", "", NoticeKind.LEASE_RECLAIMED, {}, now())
    with running_service(world) as service:
        page = visit(service)
        section = page.get_by_role("region", name="What happened")
        expect(section).to_contain_text("did nothing while others waited")
        picture(page, "notices")
        page.get_by_role("button", name="Dismiss").focus()
        page.keyboard.press("Enter")
        expect(section).to_have_count(0)
        assert world.ledger.notices("ada", "") == ()


def test_whoever_waits_sees_their_place_and_may_stop_waiting(world, visit):
    world.stop_server("ada", "")
    world.ledger.begin_run(HubLetsWait.run, now())
    for user in ("bob", "ada"):
        world.ledger.enqueue(Request(user, "", 2), now(), waiter=HubLetsWait.run)
    world.servers["ada", ""] = HubServer(False, False, "spawn", "")
    world.run_server("kim", term=timedelta(hours=1))
    with running_service(world, hub=HubLetsWait(world)) as service:
        page = visit(service)
        expect(page.get_by_text("Waiting in line")).to_be_visible()
        expect(page.get_by_text("number 2 of 2")).to_be_visible()
        expect(page.locator("dd").nth(1)).to_contain_text(re.compile(r"unknown|^\s*at .*\d"))
        picture(page, "waiting")
        world.ledger.withdraw("bob", "")
        expect(page.get_by_text("number 1 of 1")).to_be_visible(timeout=60_000)
        page.get_by_role("button", name="Stop waiting…").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Stop waiting for a GPU?")
        expect(dialog.get_by_role("button", name="Go on waiting")).to_be_focused()
        dialog.get_by_role("button", name="Stop waiting").click()
        expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
        expect(page.get_by_role("status").filter(has_text="does not wait any more")).to_be_visible()
        assert world.ledger.queue() == ()


# -- those who look after the devices


def test_a_device_is_drained_and_given_back_by_keyboard(world, visit):
    with running_service(world) as service:
        as_admin(service)
        page = visit(service, "devices")
        same_page(page)
        row = page.get_by_role("row").filter(has_text=UUIDS[0])
        row.get_by_role("button", name="Drain").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Drain this device?")
        expect(dialog).to_contain_text(UUIDS[0])
        expect(dialog).to_contain_text("is told at once")
        minutes = dialog.get_by_label("Minutes from now")
        expect(minutes).to_be_focused()
        picture(page, "drain")
        minutes.fill("20000")
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
        assert all(record.accepts for record in world.ledger.devices()), "out of bounds"
        minutes.fill("45")
        dialog.get_by_label("Reason").fill("new fan")
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("status").filter(has_text="is being drained")).to_be_visible()
        expect(row).to_contain_text("new fan")
        expect(row).to_contain_text(re.compile("ends in 4[45] minutes"))
        # what had the focus is gone; the row has it still
        expect(row.locator(":focus")).to_have_count(1)
        picture(page, "drained")
        row.get_by_role("button", name="Uncordon").click()
        page.get_by_role("dialog").get_by_role("button", name="Uncordon").click()
        expect(row.get_by_text("draining")).to_have_count(0)
        expect(row).to_contain_text("without end")
        assert all(record.accepts for record in world.ledger.devices())
        still_there(page)


def test_a_refusal_of_maintenance_stays_in_its_dialog(world, visit, monkeypatch):
    with running_service(world) as service:
        as_admin(service)
        page = visit(service, "devices")
        page.get_by_role("button", name="Cordon").first.click()
        dialog = page.get_by_role("dialog", name="Cordon this device?")
        world.ledger.close()
        monkeypatch.setattr(world.ledger, "cordon", _ledger_away)
        dialog.get_by_role("button", name="Cordon", exact=True).click()
        expect(dialog.get_by_role("alert")).to_contain_text("ledger does not answer")
        dialog.get_by_role("button", name="Cancel").click()
        expect(dialog).to_be_hidden()


def _ledger_away(*_args: object, **_kwargs: object) -> None:
    from hub_ext.errors import LedgerUnavailable

    raise LedgerUnavailable("away")


def test_the_devices_page_follows_what_happens_elsewhere(world, visit):
    with running_service(world) as service:
        as_admin(service)
        page = visit(service, "devices")
        same_page(page)
        page.get_by_role("link", name="ada").focus()
        ill = replace(
            world.ledger.devices()[1].device, healthy=False, reason="XID 79: fallen off the bus"
        )
        world.ledger.record_inventory([world.ledger.devices()[0].device, ill], now())
        expect(page.get_by_text("XID 79: fallen off the bus")).to_be_visible(timeout=60_000)
        expect(page.get_by_role("link", name="ada")).to_be_focused()
        picture(page, "quarantined")
        still_there(page)


def some_history(world: World) -> None:
    for days, user in ((1, "lin"), (2, "max"), (2, "lin"), (3, "eve")):
        began = now() - timedelta(days=days)
        request = Request(user, "", 1, groups=("class-1",))
        lease = world.ledger.acquire(request, lambda _seen: [UUIDS[1]], began)
        world.ledger.end(lease.id, "stopped", began + timedelta(hours=days))


def test_the_line_and_usage_are_shown(world, visit):
    some_history(world)
    world.ledger.begin_run("present", now())
    world.ledger.enqueue(Request("bob", "", 2, groups=("class-1",)), now(), waiter="present")
    world.ledger.enqueue(Request("zoe", "", 1, model="H100"), now(), waiter="present")
    with running_service(world) as service:
        as_admin(service)
        page = visit(service)
        page.get_by_role("link", name="Queue").click()
        expect(page.get_by_role("row").filter(has_text="bob")).to_contain_text("2 GPUs")
        expect(page.get_by_role("row").filter(has_text="zoe")).to_contain_text("unknown")
        picture(page, "queue")
        page.get_by_role("link", name="Usage").click()
        expect(page.get_by_role("img", name=re.compile("Device-hours by day"))).to_be_visible()
        expect(page.get_by_role("row").filter(has_text="lin")).to_contain_text("3")
        picture(page, "usage")
        page.get_by_role("combobox", name="By").select_option("group")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("row").filter(has_text="class-1")).to_contain_text("8")
        with page.expect_download() as download:
            page.get_by_role("link", name="CSV").click()
        assert "class-1" in Path(download.value.path()).read_text()


@pytest.mark.parametrize("path", ["", "devices", "queue", "usage", "usage?by=device"])
def test_every_page_fits_a_phone_in_chinese_and_in_the_dark(termed, visit, path):
    some_history(termed)
    termed.ledger.enqueue(Request("participant-with-a-long-name@example.org", "", 2), now())
    termed.ledger.cordon(UUIDS[1], Cordon.CORDONED, "更换风扇", now(), actor="root")
    with running_service(termed) as service:
        as_admin(service)
        if not path:
            service.visitor = service.tokens["ada-token"]
        page = visit(
            service,
            path,
            viewport={"width": 360, "height": 740},
            locale="zh-CN",
            color_scheme="dark",
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        picture(page, f"phone-{re.sub('[^a-z]', '', path) or 'lease'}")
        english = re.compile(r"\b(the|Device-hours|Cordon|ends|Extend|waits)\b")
        expect(page.locator("main")).not_to_contain_text(english)


def test_disk_is_shown_with_its_limit(world, visit):
    world.ledger.set_policy(Policy(default=Rule(environments_gib=10, work_gib=50)))
    world.run_server("bob")
    reset(world.ledger, "ada", "second", now())
    world.volumes = [
        VolumeFact("ada", 9 * GIB, ("", 1)),
        VolumeFact("ada", 350 * 2**20, ("second", 2)),
        VolumeFact("ada", 12 * GIB, None),
        VolumeFact("bob", 2 * GIB, ("", 1)),
        VolumeFact("bob", 51 * GIB, None),
    ]
    with running_service(world) as service:
        page = visit(service)
        expect(page.get_by_role("heading", name="Disk")).to_be_hidden()
        asyncio.run_coroutine_threadsafe(service.service.space.round(), service.loop).result(20)
        page.reload()
        disk = page.get_by_role("region", name="Disk")
        expect(disk).to_contain_text("12.0 GiB of 50.0 GiB")
        expect(disk).to_contain_text("9.3 GiB of 10.0 GiB")
        expect(disk.get_by_text("nearly full")).to_be_visible()
        notice = page.get_by_text("The disk space of your environments is nearly used up")
        expect(notice).to_be_visible()
        picture(page, "disk")
        chinese = visit(service, locale="zh-CN")
        expect(chinese.get_by_text("即将用满")).to_be_visible()
        picture(chinese, "disk-zh")
        service.visitor = service.tokens["instructor-token"]
        page = visit(service, "servers")
        row = page.get_by_role("row", name="bob")
        expect(row.get_by_text("full", exact=True)).to_be_visible()
        picture(page, "servers-disk")
        phone = visit(service, "servers", viewport={"width": 390, "height": 800})
        expect(phone.get_by_text("nearly full")).to_be_visible()
        picture(phone, "servers-disk-phone")


def test_files_of_an_environment_that_was_left(world, visit, tmp_path):
    home = tmp_path / "left"
    (home / ".config" / "tool").mkdir(parents=True)
    (home / ".config" / "tool" / "settings.json").write_text('{"a": 1}')
    (home / "notes.txt").write_bytes(b"x" * 5000)
    (home / "link").symlink_to("notes.txt")
    reset(world.ledger, "ada", "", now())
    world.kept["ada", "", 1] = home
    with running_service(world) as service:
        page = visit(service)
        page.get_by_role("link", name="Files of generation 1").click()
        expect(page.get_by_role("row", name="link")).to_contain_text("a link")
        expect(page.get_by_role("row", name="notes.txt")).to_contain_text("4.9 KiB")
        picture(page, "kept-files")
        with page.expect_download() as download:
            page.get_by_role("link", name="notes.txt").click()
        assert Path(download.value.path()).read_bytes() == b"x" * 5000
        assert download.value.suggested_filename == "notes.txt"
        page.get_by_role("link", name=".config/").focus()
        page.keyboard.press("Enter")
        page.get_by_role("link", name="tool/").click()
        expect(page.get_by_role("link", name="settings.json")).to_be_visible()
        page.get_by_role("navigation", name="Folder").get_by_role("link", name="~").click()
        expect(page.get_by_role("link", name="notes.txt")).to_be_visible()
        chinese = visit(service, "users/ada/server/generations/1?path=.config", locale="zh-CN")
        expect(chinese.get_by_role("columnheader", name="大小")).to_be_visible()
        phone = visit(
            service, "users/ada/server/generations/1", viewport={"width": 390, "height": 700}
        )
        expect(phone.get_by_role("link", name="notes.txt")).to_be_visible()
        picture(phone, "kept-files-phone")
        # it went away meanwhile
        world.kept.clear()
        page.reload()
        expect(page.get_by_text("The files of generation 1 are gone.")).to_be_visible()
        picture(page, "kept-files-gone")
