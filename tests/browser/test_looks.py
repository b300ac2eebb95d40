"""Every page, for everybody: in light and dark, on a watch-sized window and a wall, by ear, and from right to left."""

from __future__ import annotations

from typing import Final, Literal

from playwright.sync_api import Page, ViewportSize

from tests.browser.axe import findings
from tests.browser.case import BrowserCase
from tests.browser.sights import SIGHTS

NARROW: Final = ViewportSize(width=320, height=568)
SIZES: Final = (NARROW, ViewportSize(width=3840, height=2160))
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")


class LooksTests(BrowserCase):
    """Each test looks at one sight in every way that it may be looked at."""

    def faults(self, sight: str, **options: str) -> list[str]:
        """Return what is wrong with a sight, in English or another language."""
        visitor = self.visitor(**options)
        SIGHTS[sight](self.stage, visitor)
        page, found = visitor.page, []
        for scheme in SCHEMES:
            page.emulate_media(color_scheme=scheme)
            found += [f"{scheme}: {each}" for each in findings(page)]
        for direction in ("ltr", "rtl"):
            page.evaluate("direction => { document.documentElement.dir = direction; }", direction)
            for size in SIZES:
                page.set_viewport_size(size)
                found += [f"{direction}, {size['width']} px: {each}" for each in sticking_out(page)]
        return found

    def assert_for_everybody(self, sight: str) -> None:
        """In English and in German axe finds nothing, and nothing has to be scrolled sideways."""
        found = [f"{language}: {fault}" for language in ("en", "de") for fault in self.faults(sight, locale=language)]
        if found:
            self.fail("\n".join(found))


def sticking_out(page: Page) -> list[str]:
    """Return what is wider than the window, if the page has to be scrolled sideways for it."""
    found: list[str] = page.evaluate("""() => {
        const root = document.documentElement;
        if (root.scrollWidth <= root.clientWidth) return [];
        const wide = [...document.body.querySelectorAll("*")].filter(element => {
            const box = element.getBoundingClientRect();
            return box.width && (box.right > innerWidth || box.left < 0);
        });
        return wide.length ? wide.map(element => element.outerHTML.slice(0, 200)) : [`${root.scrollWidth} px wide`];
    }""")
    return found


def _looked_at(sight: str):
    def test(self: LooksTests) -> None:
        self.assert_for_everybody(sight)

    test.__doc__ = f"{(SIGHTS[sight].__doc__ or '').rstrip('.')}: for everybody."
    return test


for _name in SIGHTS:
    setattr(LooksTests, f"test_{_name.replace('-', '_')}", _looked_at(_name))
