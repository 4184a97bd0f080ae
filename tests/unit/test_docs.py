"""Docs are complete: every setting, trait, endpoint and finding code is in them, every link leads
somewhere, and every command that they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hub_ext.policy_settings import GpuPolicy
from hub_ext.service.app import GpucampService
from hub_ext.spawner import GPUDockerSpawner
from setup_host.settings import SETTINGS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ADMIN = (ROOT / "docs" / "admin.md").read_text()


@pytest.mark.parametrize("variable", SETTINGS)
def test_every_setting_of_the_installation_is_documented(variable: str):
    default = SETTINGS[variable][0]
    row = f"| `{variable}` | {f'`{default}`' if default else ''} |"
    assert row in ADMIN, f"docs/admin.md has no row, or another default: {row}"


@pytest.mark.parametrize(
    "trait",
    [
        f"{cls.__name__}.{name}"
        for cls in (GPUDockerSpawner, GpuPolicy, GpucampService)
        for name in cls.class_own_traits(config=True)
        if name not in GPUDockerSpawner.__mro__[1].class_trait_names()
    ],
)
def test_every_trait_is_documented(trait: str):
    cls, name = trait.split(".")
    section = ADMIN.split(f"`c.{cls}.…`")[1].split("\n## ")[0]
    assert f"\n| `{name}` |" in section


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_within_the_repository_leads_to_a_file(page: Path):
    links = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_in_the_docs_exists(page: Path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`(?:[A-Z_]+=\S+ )?make ([a-z-]+)", page.read_text()))
    assert named <= targets
