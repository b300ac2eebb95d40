"""What axe-core finds on a page: whatever keeps somebody from reading or using it."""

from __future__ import annotations

from typing import Any, Final

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page

# Of a colour that fades into another axe would judge what is between the two.
_REST: Final = """
    document.getAnimations().forEach(each =>
        each.effect.getComputedTiming().iterations === Infinity ? each.cancel() : each.finish())
"""


def findings(page: Page) -> list[str]:
    """Return a line for each thing that is wrong on ``page``, as it stands now."""
    page.evaluate(_REST)
    page.evaluate(AXE_SCRIPT)
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [_line(rule, node) for rule in found["violations"] for node in rule["nodes"]]


def _line(rule: dict[str, Any], node: dict[str, Any]) -> str:
    said = [check["message"] for kind in ("any", "all", "none") for check in node[kind]]
    return f"{rule['id']} ({rule['impact']}): {node['html']}: {'; '.join(said)}"
