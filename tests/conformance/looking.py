"""Those who look and do not take: HEAD, conditional requests, previews, scanners, people before they click."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

import attrs

from tests.conformance.answers import Answer
from tests.conformance.case import Theme
from tests.conformance.stage import FIRST, KIB, OTHER, SMALL, THIRD, Drop, Stage, check
from tests.conformance.wire import Recipient

theme: Final = Theme("Looking takes nothing")

_MOZILLA: Final = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
BROWSER: Final = attrs.evolve(
    FIRST,
    called="a browser",
    agent=f"{_MOZILLA} Chrome/126.0.0.0 Safari/537.36",
    accept="text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8",
)

#: Who fetches a link that was merely pasted or mailed, and as what it says it comes.
PREVIEWS: Final = {
    "Slack": "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)",
    "Discord": "Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)",
    "WhatsApp": "WhatsApp/2.23.20.0 A",
    "Telegram": "TelegramBot (like TwitterBot)",
    "Twitter": "Twitterbot/1.0",
    "Facebook": "facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)",
    "iMessage": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_11_1) AppleWebKit/601.2.4 (KHTML, like Gecko) "
    "Version/9.0.1 Safari/601.2.4 facebookexternalhit/1.1 Facebot Twitterbot/1.0",
    "Skype": f"{_MOZILLA} SkypeUriPreview Preview/0.5 skype-url-preview@microsoft.com",
    "Microsoft Teams": "SkypeUriPreview Preview/0.5",
    "Microsoft SafeLinks": f"{_MOZILLA} BingPreview/1.0b",
    "Proofpoint": "Mozilla/5.0 (compatible; Proofpoint URL Defense)",
    "Barracuda": "Mozilla/5.0 (compatible; BarracudaCentral/1.0)",
    "Signal": "WhatsApp/2",
}


def check_page(answer: Answer, drop: Drop, who: Recipient) -> None:
    """The answer is a page, and nothing of the file is in it."""
    kind = answer.field("Content-Type")
    right = answer.status == 200 and answer.complete and kind.startswith("text/html")
    check(right, f"{who.called} should get a page and got {answer.told} of type {kind!r}")
    check(drop.content[: 1 * KIB] not in answer.body, f"the page for {who.called} has the file in it")


def page_location(answer: Answer) -> str:
    """Return where the button of a page leads: the link, with the claim's token."""
    check(answer.status == 303, f"POST to the link should be answered 303 and was {answer.told}")
    place = urlsplit(answer.field("Location"))
    check("claim=" in place.query, f"the Location should carry ?claim= and is {answer.field('Location')!r}")
    return f"{place.path}?{place.query}"


@theme.case(
    "head",
    promise="HEAD tells the length, any number of times, and GET still gets all.",
    means="A chat program or a download manager that looks at a link first does not use it up.",
)
def head(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    for _ in range(3):
        seen = stage.fetch(drop, method="HEAD")
        right = (seen.status, seen.field("Content-Length"), len(seen.body)) == (200, str(SMALL), 0)
        check(right, f"HEAD is answered with {seen.told}, Content-Length {seen.field('Content-Length')!r}")
    stage.gets_all(drop, OTHER)
    stage.is_gone(drop, FIRST)
    check(stage.gone(stage.fetch(drop, method="HEAD")), "HEAD still finds what is gone")


@theme.case(
    "head-meanwhile",
    promise="HEAD during somebody's download says 423, as GET would, and does not disturb it.",
    means="Looking at a link that is being fetched tells the truth and harms nobody.",
)
def head_meanwhile(stage: Stage) -> None:
    drop = stage.leave()
    running = stage.begin(drop)
    for _ in range(3):
        stage.is_busy(drop, OTHER, method="HEAD")
    stage.came_whole(drop, running)


@theme.case(
    "if-none-match",
    promise="A request with the file's own ETag is answered 304 and takes nothing.",
    means="A cache or a browser that asks whether the file has changed does not use the link up.",
)
def if_none_match(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    tag = stage.fetch(drop, method="HEAD").field("ETag")
    check(tag, "HEAD tells no ETag")
    for _ in range(2):
        seen = stage.fetch(drop, If_None_Match=tag)
        check((seen.status, len(seen.body)) == (304, 0), f"If-None-Match is answered with {seen.told}")
    stage.gets_all(drop, OTHER)


@theme.case(
    "previews",
    promise="Link previews of 13 chat programs and mail scanners get a page, 200 and text/html, and take nothing.",
    means="A link can be pasted into a chat or sent by mail; it is still good when its reader clicks.",
    needs="pages",
)
def previews(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    for called, agent in PREVIEWS.items():
        bot = attrs.evolve(THIRD, called=f"the preview of {called}", agent=agent)
        check_page(stage.fetch(drop, bot), drop, bot)
    stage.gets_all(drop, OTHER)


@theme.case(
    "page",
    promise="A browser gets a page, any number of times, and takes nothing; a program then gets the file.",
    means="Opening a link in a browser shows what it is. Only the button downloads.",
    needs="pages",
)
def page(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    for _ in range(3):
        check_page(stage.fetch(drop, BROWSER), drop, BROWSER)
    stage.gets_all(drop, OTHER)


@theme.case(
    "button",
    promise="POST to the link is answered 303 with a Location that carries the claim's token; there are the bytes, "
    "for a browser too.",
    means="The button downloads the file, once.",
    needs="pages token",
)
def button(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    pressed = stage.fetch(drop, BROWSER, method="POST", Content_Length="0")
    there = attrs.evolve(drop, target=page_location(pressed))
    stage.gets_all(there, BROWSER)
    stage.is_gone(drop, OTHER)


@theme.case(
    "button-elsewhere",
    promise="Who pressed the button gets the bytes from another address, too; others meanwhile get nothing.",
    means="A phone that changes from one network to another between click and download loses nothing.",
    needs="pages token",
)
def button_elsewhere(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    pressed = stage.fetch(drop, BROWSER, method="POST", Content_Length="0")
    there = attrs.evolve(drop, target=page_location(pressed))
    stage.is_busy(drop, OTHER)
    stage.gets_all(there, attrs.evolve(BROWSER, address=THIRD.address))
    stage.is_gone(drop, OTHER)


@theme.case(
    "button-and-leave",
    promise="Who presses the button and then fetches nothing blocks nobody for more than some seconds.",
    means="A scanner that presses every button does not lock people out.",
    needs="pages token",
)
def button_and_leave(stage: Stage) -> None:
    drop = stage.leave(SMALL)
    page_location(stage.fetch(drop, BROWSER, method="POST", Content_Length="0"))
    stage.gets_all(drop, OTHER, at_once=False)
