"""Every page, for everybody: in light and dark, on a watch-sized window and a wall, by ear, and from right to left."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from playwright.sync_api import Page, ViewportSize

from tests.browser.axe import findings
from tests.browser.case import BrowserCase
from tests.browser.sights import SIGHTS

NARROW: Final = ViewportSize(width=320, height=568)
SIZES: Final = (NARROW, ViewportSize(width=3840, height=2160))
Scheme = Literal["light", "dark"]


class LooksTests(BrowserCase):
    """Each test looks at one sight in every way that it may be looked at."""

    def faults(self, sight: str, language: str, *schemes: Scheme) -> Iterator[str]:
        """Yield what is wrong with a sight in a language: what axe finds, and what has to be scrolled sideways."""
        visitor = self.visitor(locale=language)
        SIGHTS[sight](self.stage, visitor)
        page = visitor.page
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            yield from (f"{language}, {scheme}: {each}" for each in findings(page))
        for direction in ("ltr", "rtl"):
            page.evaluate("direction => { document.documentElement.dir = direction; }", direction)
            for size in SIZES:
                page.set_viewport_size(size)
                where = f"{language}, {direction}, {size['width']} px"
                yield from (f"{where}: {each}" for each in sticking_out(page))

    def assert_for_everybody(self, sight: str) -> None:
        """In English, light and dark, and in German, whose words are longer, there is nothing wrong."""
        found = [*self.faults(sight, "en", "light", "dark"), *self.faults(sight, "de", "light")]
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
