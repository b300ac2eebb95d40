"""What it costs to load a page: requests and bytes as the network has them, and the moments that a reader notices."""

from __future__ import annotations

from typing import Any, Final

import attrs
from playwright.sync_api import CDPSession

from tests.browser.visitor import Visitor

# What the browser tells of its own work (W3C Paint Timing, Largest Contentful Paint, Layout Instability, Long Tasks).
_OBSERVE: Final = """
    window.__seen = {largest: 0, shift: 0, blocked: 0};
    const observe = (type, take) =>
        new PerformanceObserver(list => list.getEntries().forEach(take)).observe({type, buffered: true});
    observe("largest-contentful-paint", entry => { __seen.largest = entry.startTime; });
    observe("layout-shift", entry => { if (!entry.hadRecentInput) __seen.shift += entry.value; });
    observe("longtask", entry => { __seen.blocked += Math.max(0, entry.duration - 50); });
"""
# Two frames after the load event what was to be drawn is drawn, and its entries are in.
_READ: Final = """
    async () => {
        for (let turn = 0; turn < 2; turn++)
            await new Promise(resolve => requestAnimationFrame(() => setTimeout(resolve)));
        const paint = performance.getEntriesByName("first-contentful-paint")[0];
        const navigation = performance.getEntriesByType("navigation")[0];
        return {...__seen, first: paint ? paint.startTime : 0, ready: navigation.domContentLoadedEventEnd};
    }
"""


@attrs.frozen
class Line:
    """A line to the daemon, and a machine at the end of it.

    :ivar latency: milliseconds that are added to each request.
    :ivar down: bytes a second.
    :ivar up: likewise.
    :ivar slowdown: how many times slower the processor is.
    """

    latency: float = 0
    down: float = -1
    up: float = -1
    slowdown: float = 1


#: As they are on this machine.
LOOPBACK: Final = Line()
#: What Lighthouse applies for a phone in the middle of the range: "slow 4G", a processor four times slower.
PHONE_LINE: Final = Line(latency=562.5, down=1474.56 * 1024 / 8, up=675 * 1024 / 8, slowdown=4)


@attrs.frozen(kw_only=True)
class Load:
    """What a visit to a page was like. Times are milliseconds after it began.

    :ivar requests: how many went to the network.
    :ivar octets: of their answers, heads and bodies as they were on the wire.
    :ivar first: something was to be seen (FCP).
    :ivar largest: the largest thing was (LCP).
    :ivar ready: the document was read, and its scripts had run (DOMContentLoaded).
    :ivar blocked: how long the main thread could not have answered anybody (TBT).
    :ivar shift: how much of the page moved under the reader's eyes (CLS).
    """

    requests: int
    octets: int
    first: float
    largest: float
    ready: float
    blocked: float
    shift: float


class Loading:
    """Measures what a visitor loads.

    :param visitor: has looked at nothing yet.
    """

    def __init__(self, visitor: Visitor, line: Line = LOOPBACK) -> None:
        self._visitor = visitor
        self._sizes: dict[str, float] = {}
        self._fetched: set[str] = set()
        visitor.context.add_init_script(_OBSERVE)
        self._devtools: CDPSession = visitor.context.new_cdp_session(visitor.page)
        self._devtools.on("Network.requestWillBeSent", self._begun)
        self._devtools.on("Network.requestServedFromCache", self._cached)  # from memory
        self._devtools.on("Network.responseReceived", self._answered)
        self._devtools.on("Network.loadingFinished", self._finished)
        self._devtools.send("Network.enable")
        self._devtools.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": line.latency,
                "downloadThroughput": line.down,
                "uploadThroughput": line.up,
            },
        )
        self._devtools.send("Emulation.setCPUThrottlingRate", {"rate": line.slowdown})

    def _begun(self, told: dict[str, Any]) -> None:
        if told["request"]["url"].startswith("http"):
            self._fetched.add(told["requestId"])

    def _cached(self, told: dict[str, Any]) -> None:
        self._fetched.discard(told["requestId"])

    def _answered(self, told: dict[str, Any]) -> None:
        if told["response"]["fromDiskCache"]:
            self._cached(told)

    def _finished(self, told: dict[str, Any]) -> None:
        self._sizes[told["requestId"]] = told["encodedDataLength"]

    def visit(self, url: str) -> Load:
        """Go to ``url``, and return what that was like when nothing more comes in."""
        self._sizes.clear()
        self._fetched.clear()
        self._visitor.page.goto(url)
        # Half a second without a request may pass before a busy machine has read the first script.
        self._visitor.page.wait_for_load_state("networkidle")
        seen = self._visitor.page.evaluate(_READ)
        return Load(
            requests=len(self._fetched),
            octets=round(sum(self._sizes.get(each, 0) for each in self._fetched)),
            first=seen["first"],
            largest=seen["largest"],
            ready=seen["ready"],
            blocked=seen["blocked"],
            shift=seen["shift"],
        )
