"""What people see of gpucamp's own pages while their service is killed and starts again."""

from __future__ import annotations

import psutil
import pytest
from conftest import PICTURES, Installation
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.timeout(300)


def kill_the_service(installation: Installation) -> None:
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if "hub_ext.service" in command:
            if process.environ().get("GPUCAMP_STATE_DIR") == str(installation.state):
                process.kill()
                return
    raise AssertionError("the service does not run")


@pytest.mark.parametrize(
    ("locale", "says"),
    [("en-US", "This page is not there for the moment"), ("zh-CN", "此页面暂时不可用")],
)
def test_a_page_comes_back_with_its_service(
    installation: Installation, browser: Browser, locale: str, says: str
) -> None:
    context = browser.new_context(locale=locale)
    page = context.new_page()
    kill_the_service(installation)
    page.goto(f"{installation.url}/services/gpucamp/")
    expect(page.get_by_role("heading", name=says)).to_be_visible()
    expect(page.get_by_text("appears to be down")).to_have_count(0)
    page.screenshot(path=PICTURES / f"service-away-{locale}.png")
    page.wait_for_url("**/hub/login**", timeout=120_000)  # nobody is signed in
    context.close()


def test_a_server_that_does_not_answer_is_not_called_a_page_of_gpucamps(
    installation: Installation, browser: Browser
) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{installation.url}/hub/error/503?url=/user/ada/lab")
    expect(page.get_by_role("heading", name="Your server does not answer")).to_be_visible()
    expect(page.get_by_role("link", name="Look at your servers")).to_have_attribute(
        "href", "/hub/home"
    )
    context.close()


def test_jupyterhubs_own_words_are_in_the_readers_language(
    installation: Installation, browser: Browser
) -> None:
    context = browser.new_context(locale="zh-CN")
    page = context.new_page()
    page.goto(f"{installation.url}/hub/login")
    page.get_by_label("用户名：").fill("instructor")
    page.get_by_label("密码：").first.fill(installation.passwords()["instructor"])
    page.get_by_role("button", name="登录").click()
    page.goto(f"{installation.url}/hub/home")
    expect(page.get_by_role("link", name="主页")).to_be_visible()
    start = page.get_by_role("button", name="启动我的服务器")
    expect(start).to_be_visible()
    # as JupyterHub does once a server has stopped
    start.evaluate("button => { button.textContent = 'Start My Server'; }")
    expect(start).to_be_visible()
    page.screenshot(path=PICTURES / "hub-home-zh-CN.png")
    context.close()
