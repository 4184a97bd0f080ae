"""The class, live, and the room's screen, in a real Chromium."""

from __future__ import annotations

from datetime import timedelta

import pytest
from accessibility import violations
from class_of_eight import fill, samples
from playwright.sync_api import Page, expect
from service_page import SlowHub, picture
from service_server import running_service
from service_world import RunnerHangs, now

PHONE = {"viewport": {"width": 360, "height": 740}}


@pytest.fixture
def service(world):
    fill(world)
    with running_service(world, hub=SlowHub(world)) as running:
        samples(running)
        running.visitor = running.tokens["instructor-token"]
        yield running


def card(page: Page, name: str):
    return page.locator("li.person").filter(has=page.get_by_role("link", name=name, exact=True))


def test_who_needs_help_is_seen_first_and_can_be_helped(service, visit):
    page = visit(service, "class?group=class-1")
    expect(page.locator("li.person h3")).to_have_text(
        ["dan", "cleo", "gus", "bob", "eve", "finn", "ada", "hana"]
    )
    expect(card(page, "dan")).to_contain_text("torch does not see my GPU")
    expect(card(page, "cleo")).to_contain_text("cannot work")
    expect(card(page, "gus")).to_contain_text("did not start 2 times in a row")
    expect(card(page, "bob")).to_contain_text("the lease ends")
    picture(page, "class")
    dan = card(page, "dan")
    # by keyboard alone
    dan.get_by_text("Help", exact=True).focus()
    page.keyboard.press("Enter")
    lower = dan.get_by_role("button", name="Lower hand")
    lower.focus()
    picture(page, "class-help")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The hand of dan is down.")).to_be_visible()
    expect(page.locator("li.person h3").first).to_have_text("cleo")
    assert service.world.ledger.hand("dan") is None


def test_a_reset_asks_first_and_leaves_one_on_the_page(service, visit):
    page = visit(service, "class")
    bob = card(page, "bob")
    bob.get_by_text("Help", exact=True).click()
    bob.get_by_role("button", name="Reset environment…").click()
    dialog = page.get_by_role("dialog", name="Reset the environment of bob?")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    picture(page, "class-reset-dialog")
    dialog.get_by_role("button", name="Reset environment").click()
    expect(dialog).to_be_visible()  # a reason is needed
    dialog.get_by_label("Reason").fill("torch was replaced")
    dialog.get_by_role("button", name="Reset environment").click()
    expect(page.get_by_text("A reset of bob was asked for.")).to_be_visible()
    expect(page).to_have_url(service.url + "class")
    expect(card(page, "bob")).to_contain_text("Running", timeout=30_000)
    assert service.world.ledger.operation_of("bob", "").reason == "torch was replaced"


def test_what_came_of_a_click_is_seen_far_down_the_page_too(service, visit):
    page = visit(service, "class", viewport={"width": 800, "height": 500})
    last = page.locator("li.person").last
    last.get_by_text("Help", exact=True).click()
    last.get_by_role("button", name="Write a message…").click()
    dialog = page.get_by_role("dialog", name="Write to ")
    dialog.get_by_label("Message").fill("hello")
    page.keyboard.press("Enter")
    said = page.locator("#said")
    expect(said).to_contain_text("is sent.")
    expect(said).to_be_in_viewport()
    # what cannot be done is seen as well, and not beside what was done before
    name = last.get_by_role("link").first.inner_text()
    service.world.stop_server(name, "")
    service.world.run_server(name, gpus=0, groups=("class-1",))
    service.world.containers.clear()
    last.get_by_role("button", name="Examine").click()
    trouble = page.locator("#trouble")
    expect(trouble).to_contain_text("does not run")
    expect(trouble).to_be_in_viewport()
    expect(said).to_be_hidden()


def test_the_focus_comes_back_from_a_dialog_though_the_page_changed_meanwhile(service, visit):
    page = visit(service, "class?group=class-1")
    bob = card(page, "bob")
    bob.get_by_text("Help", exact=True).click()
    bob.get_by_role("button", name="Reset environment…").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    service.world.ledger.raise_hand("ada", "", "", ("class-1",), now() - timedelta(hours=1))
    expect(page.locator("li.person h3").first).to_have_text("ada", timeout=30_000)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(bob.get_by_role("button", name="Reset environment…")).to_be_focused()


def test_an_examination_is_followed_on_the_card(world, visit):
    fill(world)
    runner = RunnerHangs()
    with running_service(world, hub=SlowHub(world), runner=runner) as service:
        service.visitor = service.tokens["instructor-token"]
        page = visit(service, "class")
        ada = card(page, "ada")
        ada.get_by_text("Help", exact=True).click()
        ada.get_by_role("button", name="Examine").focus()
        page.keyboard.press("Enter")
        expect(ada).to_contain_text("Examining…")
        expect(ada).to_contain_text("not examined yet")
        runner.released = True
        # soon, without the slow poll of a class
        expect(ada).to_contain_text("cannot work", timeout=15_000)
        expect(ada).not_to_contain_text("Examining…")
        expect(ada.get_by_role("button", name="Examine")).to_be_focused()


def test_a_message_reaches_its_reader(service, visit):
    page = visit(service, "class")
    ada = card(page, "ada")
    ada.get_by_text("Help", exact=True).click()
    ada.get_by_role("button", name="Write a message…").click()
    dialog = page.get_by_role("dialog", name="Write to ada")
    dialog.get_by_label("Message").fill("Look at the <b>screen</b>, please")
    picture(page, "message-dialog")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your message to ada is sent.")).to_be_visible()
    service.visitor = service.tokens["ada-token"]
    page = visit(service)
    expect(page.get_by_text("kim writes: Look at the <b>screen</b>, please")).to_be_visible()
    picture(page, "message")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.get_by_text("kim writes")).to_have_count(0)


def test_the_page_changes_by_itself_and_what_is_open_stays_open(service, visit):
    page = visit(service, "class?group=class-1")
    ada = card(page, "ada")
    ada.get_by_text("Help", exact=True).click()
    expect(ada.get_by_role("button", name="Examine")).to_be_visible()
    service.world.ledger.raise_hand("ada", "", "", ("class-1",), now() - timedelta(hours=1))
    expect(page.locator("li.person h3").first).to_have_text("ada", timeout=60_000)
    expect(ada.get_by_role("button", name="Examine")).to_be_visible()


def test_some_of_the_class_as_a_table_and_back(service, visit):
    page = visit(service, "class")
    page.get_by_label("Group").select_option("class-1")
    page.get_by_label("State").select_option(label="Waiting in line")
    page.get_by_label("Name").fill("FIN")
    page.keyboard.press("Enter")
    expect(page.locator("li.person h3")).to_have_text(["finn"])
    assert page.url.endswith("/class?group=class-1&state=waiting&search=FIN")
    expect(page.get_by_label("State")).to_have_value("waiting")
    page.get_by_role("link", name="As a table").click()
    expect(page.get_by_role("rowheader")).to_have_count(1)
    expect(page.get_by_role("rowheader")).to_contain_text("finn")
    page.get_by_label("Name").fill("nobody")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("link", name="Show all").click()
    expect(page.get_by_role("rowheader")).to_have_count(8)
    expect(page.get_by_role("row", name="cleo")).to_contain_text("cannot work")
    picture(page, "class-table")
    dan = page.get_by_role("row", name="dan")
    dan.get_by_text("Help", exact=True).click()
    picture(page, "class-table-help")
    dan.get_by_role("button", name="Lower hand").click()
    expect(page.get_by_text("The hand of dan is down.")).to_be_visible()
    expect(page.get_by_role("rowheader").first).to_contain_text("cleo")
    page.get_by_role("link", name="As cards").click()
    expect(page.locator("li.person")).to_have_count(8)


def test_the_screen_of_the_room(service, visit):
    page = visit(service, "class?group=class-1", viewport={"width": 1920, "height": 1080})
    page.get_by_role("link", name="For the room’s screen").click()
    expect(page.get_by_role("heading", name="class-1")).to_be_visible()
    for shown in ("dan", "eve", "finn"):
        expect(page.locator(".names").get_by_text(shown)).to_be_visible()
    for name in ("cleo", "gus", "torch does not see my GPU"):
        expect(page.locator("main").get_by_text(name)).to_have_count(0)
    picture(page, "class-screen")
    page.keyboard.press("f")
    expect(page.locator("body")).to_have_class("full-screen")
    expect(page.get_by_role("navigation", name="Pages")).to_be_hidden()
    page.get_by_role("button", name="Full screen").click()
    expect(page.locator("body")).not_to_have_class("full-screen")


def test_a_table_on_a_phone(service, visit):
    page = visit(service, "class?view=table", **PHONE)
    expect(page.get_by_role("row", name="dan")).to_contain_text("torch does not see my GPU")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    picture(page, "class-table-phone")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone(service, visit, scheme):
    page = visit(service, "class?group=class-1", color_scheme=scheme, locale="zh-CN", **PHONE)
    expect(page.get_by_role("heading", name="分组 class-1")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    picture(page, f"class-phone-{scheme}")
    assert violations(page) == []
