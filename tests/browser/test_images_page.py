"""The page of the images: a pull with progress, which image new servers get, who still runs another
one; by keyboard, in light and dark, on a desktop and on a phone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from accessibility import violations
from playwright.sync_api import Page, expect
from service_page import as_admin, picture
from service_server import RunningService, running_service
from service_world import USUAL_IMAGE, EnginePullsSlowly, World, now

from hub_ext.errors import EngineUnavailable
from hub_ext.images import IMAGE_LABEL, ImageFact, PullState

OTHER = ImageFact(
    "sha256:" + "cd" * 32,
    ("gpucamp/torch-cuda:2",),
    size=8_300_000_000,
    created_at=now(),
    labels={IMAGE_LABEL: "torch-cuda"},
)
PULLED = "registry.example/camp@sha256:" + "12" * 32
FAILED = "registry.example/camp@sha256:" + "34" * 32
UNFIT = ImageFact(
    "sha256:" + "78" * 32, digests=("registry.example/camp@sha256:" + "9a" * 32,), created_at=now()
)
CUT_OFF = "registry.example/camp@sha256:" + "56" * 32


@pytest.fixture
def engine(world: World) -> EnginePullsSlowly:
    world.images.append(OTHER)
    return EnginePullsSlowly(world)


@pytest.fixture
def service(world: World, engine: EnginePullsSlowly) -> Iterator[RunningService]:
    with running_service(world, engine=engine) as running:
        as_admin(running)
        yield running


def row(page: Page, text: str):
    return page.get_by_role("row").filter(has_text=text)


def choose(page: Page, button: str, title: str, reason: str, submit: str, name: str) -> None:
    """Open a dialog by keyboard, give a reason, send it by keyboard."""
    page.get_by_role("button", name=button).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name=title)
    expect(dialog.get_by_label("Reason")).to_be_focused()
    page.keyboard.press("Enter")  # without a reason nothing is sent
    expect(dialog).to_be_visible()
    page.keyboard.type(reason)
    picture(page, name)
    assert not violations(page)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()


def test_new_servers_get_what_is_chosen_until_that_is_taken_back(service, world, visit):
    page = visit(service, "images")
    expect(row(page, "abababababab")).to_contain_text("new servers get it")
    expect(row(page, "abababababab")).to_contain_text("ada")
    expect(page.get_by_text("still runs another image")).to_have_count(0)
    choose(
        page,
        "Give to new servers… gpucamp/torch-cuda:2",
        "Give this image to new servers?",
        "a mended torch",
        "Give it to new servers",
        "image-pin",
    )
    expect(page.locator("#said")).to_contain_text("New servers get gpucamp/torch-cuda:2")
    chosen = row(page, "cdcdcdcdcdcd")
    expect(chosen).to_contain_text("new servers get it")
    expect(chosen).to_contain_text("chosen by root")
    expect(chosen).to_contain_text("a mended torch")
    expect(page.get_by_text("One server still runs another image")).to_be_visible()
    assert world.ledger.image_for(USUAL_IMAGE.id) == OTHER.id
    picture(page, "images-pinned")
    choose(
        page,
        "Back to the configured one…",
        "Back to the configured image?",
        "it was not better",
        "Back to the configured one",
        "image-unpin",
    )
    expect(row(page, "abababababab")).to_contain_text("new servers get it")
    assert world.ledger.image_for(USUAL_IMAGE.id) == USUAL_IMAGE.id


def test_a_pull_is_begun_followed_cancelled_and_begun_again(service, engine, visit):
    page = visit(service, "images")
    field = page.get_by_label("Image", exact=True)
    field.focus()
    page.keyboard.type("registry.example/camp:2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="a tag may mean")).to_be_visible()
    field.fill(PULLED)
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("The image is being pulled")
    expect(row(page, "121212121212")).to_contain_text("5 MiB of 9 MiB, 1 of 2 parts")
    bar = page.get_by_role("progressbar", name="Pulled")
    assert bar.evaluate("each => each.value / each.max") == pytest.approx(5 / 9)
    picture(page, "images-pulling")
    assert not violations(page)
    page.get_by_role("button", name="Cancel the pull").press("Enter")
    expect(row(page, "121212121212")).to_contain_text("the pull was cancelled")
    assert engine.given_up == [PULLED]
    engine.released = True
    page.get_by_role("button", name="Pull: registry.example/camp 121212121212").press("Enter")
    expect(row(page, "121212121212")).to_contain_text("pulled for root")
    expect(row(page, "121212121212")).not_to_contain_text("not on this host")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1100, 360])
def test_every_state_of_a_pull_is_readable(world, engine, visit, scheme, width):
    world.images.append(UNFIT)
    world.users |= {f"user{n}": () for n in range(8)}
    for n in range(8):
        world.run_server(f"user{n}", gpus=0)
    ledger = world.ledger
    failed = ledger.begin_image_pull(FAILED, "", now(), actor="root")
    why = "error from registry: " + "no space left on device " * 5
    ledger.end_image_pull(failed.id, PullState.FAILED, why, now())
    ledger.begin_image_pull(CUT_OFF, "", now(), actor="root")
    ledger.pin_image(USUAL_IMAGE.id, OTHER.id, "a mended torch", now(), actor="root")
    with running_service(world, engine=engine) as service:
        as_admin(service)
        service("POST", f"api/v1/images/{PULLED.replace('/', '%2F')}/pull", "admin-token")
        page = visit(
            service, "images", color_scheme=scheme, viewport={"width": width, "height": 800}
        )
        expect(row(page, "343434343434")).to_contain_text("no space left on device")
        expect(row(page, "9a9a9a9a9a9a")).to_contain_text("not an image for servers")
        expect(row(page, "9a9a9a9a9a9a").get_by_role("button")).to_have_count(0)
        expect(row(page, "565656565656")).to_contain_text("the pull was cut off")
        expect(page.get_by_text("9 servers still run another image")).to_be_visible()
        picture(page, f"images-{scheme}-{width}")
        assert not violations(page)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width


def test_who_may_only_look_has_no_buttons_and_others_no_page(service, visit):
    reader = service.tokens["admin-token"]
    allowed = [scope for scope in reader["scopes"] if not scope.endswith("images:manage")]
    service.visitor = {**reader, "scopes": allowed}
    page = visit(service, "images")
    expect(page.get_by_role("row").filter(has_text="gpucamp/torch-cuda:2")).to_be_visible()
    expect(page.locator("main button, main form, dialog")).to_have_count(0)
    service.visitor = service.tokens["ada-token"]
    page = visit(service, "images")
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Images")
    expect(page.get_by_role("link", name="Images")).to_have_count(0)


def test_an_engine_that_is_silent_is_told(service, engine, visit, monkeypatch):
    async def silent() -> tuple[ImageFact, ...]:
        raise EngineUnavailable("The Docker Engine did not answer")

    monkeypatch.setattr(engine, "images", silent)
    page = visit(service, "images")
    expect(page.get_by_text("The Docker Engine did not answer")).to_be_visible()


def test_it_is_there_in_chinese(world, service, visit):
    world.images.append(UNFIT)
    page = visit(service, "images", locale="zh-CN")
    expect(page.get_by_role("heading", name="镜像", level=1)).to_be_visible()
    expect(row(page, "abababababab")).to_contain_text("新服务器使用")
    expect(row(page, "9a9a9a9a9a9a")).to_contain_text("不适用于服务器的镜像")
    picture(page, "images-zh")
