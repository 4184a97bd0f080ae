"""Moving somebody in the line, and taking them out of it, on the pages, by keyboard."""

from __future__ import annotations

import pytest
from accessibility import violations
from playwright.sync_api import expect
from service_page import as_admin, picture
from service_server import running_service
from service_world import World, now

from hub_ext.models import Request


@pytest.fixture
def line(world: World) -> World:
    world.users |= {"joe": ()}
    for user in ("bob", "kim", "joe"):
        world.ledger.enqueue(Request(user, "", 2), now())
    return world


def order(page) -> list[str]:
    return [text.split()[0] for text in page.locator("tbody th").all_inner_texts()]


def test_somebody_is_moved_by_keyboard_and_moved_back(line, visit):
    with running_service(line) as service:
        as_admin(service)
        page = visit(service, "queue")
        assert order(page) == ["bob", "kim", "joe"]
        page.get_by_role("button", name="Move…: joe").focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog", name="Move in the line?")
        expect(dialog).to_contain_text("joe")
        place = dialog.get_by_label("New place")
        expect(place).to_be_focused()
        expect(place).to_have_value("1")
        page.keyboard.press("Enter")  # without a reason nothing is sent
        expect(dialog).to_be_visible()
        assert not any(entry.move for entry in line.ledger.queue())
        dialog.get_by_label("Reason").fill("the demo")
        picture(page, "move")
        assert not violations(page)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        expect(page.get_by_role("status").filter(has_text="joe was moved")).to_be_visible()
        expect(page.get_by_text("moved by root: “the demo”")).to_be_visible()
        assert order(page) == ["joe", "bob", "kim"]
        # the focus went with the row
        expect(page.locator("#row-joe- :focus")).to_have_count(1)
        picture(page, "moved")
        page.get_by_role("button", name="Undo the move…: joe").click()
        dialog = page.get_by_role("dialog", name="Take the move back?")
        dialog.get_by_role("button", name="Take it back").click()
        expect(page.get_by_text("moved by root")).to_have_count(0)
        assert order(page) == ["bob", "kim", "joe"]


@pytest.mark.parametrize("path", ["queue", "users/joe/server"])
def test_somebody_is_taken_out_with_a_reason(line, visit, path):
    with running_service(line) as service:
        as_admin(service)
        page = visit(service, path)
        page.get_by_role("button", name="Take out…: joe").click()
        dialog = page.get_by_role("dialog", name="Take out of the line?")
        dialog.get_by_label("Reason").fill("the exam")
        assert not violations(page)
        page.keyboard.press("Enter")
        expect(dialog).to_be_hidden()
        said = page.get_by_role("status").filter(has_text="joe does not wait any more")
        expect(said).to_be_visible()
        assert [entry.request.user for entry in line.ledger.queue()] == ["bob", "kim"]


def test_the_line_fits_a_phone_in_chinese(line, visit):
    with running_service(line) as service:
        as_admin(service)
        page = visit(service, "queue", locale="zh-CN", viewport={"width": 360, "height": 740})
        page.get_by_role("button", name="调整位置…: joe").click()
        expect(page.get_by_role("dialog", name="调整排队位置？")).to_be_visible()
        picture(page, "move-phone-zh")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
