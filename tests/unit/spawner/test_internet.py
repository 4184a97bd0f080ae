"""The variables by which containers reach the internet."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError
from traitlets.config import Config

from hub_ext.internet import check_mirrors, check_proxy, internet_environment
from hub_ext.spawner import GPUDockerSpawner

PROXY = "http://proxy.school.example:3128"
NOTHING: dict[str, Any] = {
    "proxy": "",
    "direct": (),
    "mirrors": {},
    "offline": False,
    "own_urls": ("http://172.18.0.1:8081/hub/api", ""),
}


def test_nothing_is_set_by_default() -> None:
    assert internet_environment(**NOTHING) == {}


def test_a_proxy_in_both_spellings_and_never_for_the_hub() -> None:
    env = internet_environment(**{**NOTHING, "proxy": PROXY, "direct": [".school.example"]})
    assert {env[name] for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")} == {
        PROXY
    }
    direct = "localhost,127.0.0.1,::1,172.18.0.1,.school.example"
    assert env["NO_PROXY"] == env["no_proxy"] == direct


def test_mirrors_and_offline() -> None:
    mirrors = {"huggingface": "https://hf.example", "pip": "http://pip.example/simple"}
    env = internet_environment(**{**NOTHING, "mirrors": mirrors, "offline": True})
    assert env["HF_ENDPOINT"] == "https://hf.example"
    assert env["PIP_INDEX_URL"] == "http://pip.example/simple"
    assert env["PIP_TRUSTED_HOST"] == "pip.example"
    secure = internet_environment(**{**NOTHING, "mirrors": {"pip": "https://pip.example/simple"}})
    assert secure == {"PIP_INDEX_URL": "https://pip.example/simple"}
    assert (env["WANDB_MODE"], env["HF_HUB_OFFLINE"], env["GPUCAMP_OFFLINE"]) == (
        ("offline", "1", "1")
    )


@pytest.mark.parametrize(
    "url",
    [
        *("proxy:3128", "//proxy", "ftp://proxy", "http://", "http://pro xy:1", "http://proxy:x"),
        *("http://proxy:99999", "http://[broken", "http://:3128", "http://proxy:3128\nX"),
    ],
)
def test_what_programs_cannot_use_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="is not like"):
        check_proxy(url)
    with pytest.raises(TraitError, match="internet_proxy"):
        GPUDockerSpawner(internet_proxy=url, config=Config())


@pytest.mark.parametrize("url", ["http://me:s3cret@proxy:3128", "http://me@proxy"])
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="password") as caught:
        check_proxy(url)
    assert "s3cret" not in str(caught.value)


def test_mirrors_that_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="no mirror of conda"):
        check_mirrors({"conda": "https://conda.example"})
    with pytest.raises(TraitError, match="internet_mirrors"):
        GPUDockerSpawner(internet_mirrors={"pip": "pip.example"}, config=Config())


def test_good_ones_are_kept() -> None:
    for url in ("", PROXY, "socks5h://proxy:1080", "https://[::1]:3128"):
        assert GPUDockerSpawner(internet_proxy=url, config=Config()).internet_proxy == url
