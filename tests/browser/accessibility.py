"""What axe-core finds wrong with a page: WCAG 2.2, levels A and AA."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from playwright.sync_api import Page

AXE = Path(__file__).resolve().parents[2] / "labextension/node_modules/axe-core/axe.min.js"
LEVELS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa")


@cache
def _script() -> str:
    return AXE.read_text(encoding="utf-8")


def violations(page: Page) -> list[str]:
    """A line for each element that breaks a rule: the rule, the element, and what is wrong."""
    # by the debugger, since the pages' own policy lets no script in
    page.evaluate(_script())
    found = page.evaluate(
        # no preload: axe would copy a style sheet that it cannot read yet into the page, whose
        # policy forbids that; only a rule that is off anyway (css-orientation-lock) needs it
        "levels => axe.run(document, {runOnly: {type: 'tag', values: levels}, preload: false})",
        list(LEVELS),
    )
    assert found["passes"], "axe looked at nothing"
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in found["violations"]
        for node in rule["nodes"]
    ]
