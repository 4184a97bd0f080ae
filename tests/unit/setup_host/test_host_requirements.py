"""The lock files: complete, with hashes, of one mind, and without a mirror's address."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("build", "hub", "dev")


def text(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8")


def pins(name: str) -> dict[str, set[str]]:
    """Package -> versions (more than one where they depend on the Python)."""
    found: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([a-z0-9][a-z0-9.-]*)==([^ ;\\]+)", text(name), re.M):
        found.setdefault(package, set()).add(version)
    return found


@pytest.mark.parametrize("name", (*NAMES, "breaking", "frameworks", "newer-torch", "cpu-torch"))
def test_every_package_has_hashes(name: str) -> None:
    blocks = re.split(r"^(?=[a-z0-9])", text(name), flags=re.M)[1:]
    assert len(blocks) >= len(pins(name)) > 0
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_address_of_any_index_is_in_a_lock(name: str) -> None:
    assert "://" not in text(name)
    assert "--index" not in text(name) and "--find-links" not in text(name)


def test_the_tests_run_with_the_hubs_versions() -> None:
    hub, dev = pins("hub"), pins("dev")
    assert {name: dev.get(name) for name in hub} == hub


def test_what_pyproject_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = {re.match(r"[A-Za-z0-9-]+", item)[0].lower() for item in extras["hub"]}  # type: ignore[index]
    assert wanted <= set(pins("hub"))
    wanted = {re.match(r"[A-Za-z0-9-]+", item)[0].lower() for item in extras["server"]}  # type: ignore[index]
    assert wanted <= set(pins("dev"))


def test_the_proxys_lock_has_hashes_and_no_mirror() -> None:
    lock = (ROOT / "setup_host" / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert '"node_modules/configurable-http-proxy"' in lock
    assert lock.count('"integrity": "sha512-') == lock.count('"node_modules/')
    for address in re.findall(r'"resolved": "([^"]+)"', lock):
        assert address.startswith("https://registry.npmjs.org/")
