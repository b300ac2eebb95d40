"""Who asks for a link only to preview or to scan it.

Chats fetch a link to show what is behind it, mail filters to see whether it is safe.  Neither is a
recipient: they are shown the page.  It is a guess by the name that they give themselves.  A wrong
one costs a program a page instead of the file, and never the file itself.

Most names come from the list ``crawler-user-agents``.  It also has the programs with which people
download files (``curl``, ``python-requests``), under tags of their own: those are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from typing import Final, TypedDict

from crawleruseragents import CRAWLER_USER_AGENTS_DATA

#: So much of a name is looked at.
LENGTH: Final = 512
#: So many names are remembered.
REMEMBERED: Final = 2048


class Entry(TypedDict):
    """What we read of an entry of the list."""

    pattern: str
    tags: list[str]


#: What to call those whom an owner may know, by what they call themselves. The first that fits counts.
NAMED: Final = tuple(
    (name, re.compile(pattern))
    for name, pattern in (
        # It says the least for which sites give a preview; WhatsApp itself says 2.24.6.77.
        ("Signal", r"^WhatsApp/2$|^Signal-(?:Android|Desktop|iOS)\b"),
        ("WhatsApp", r"WhatsApp"),
        ("iMessage", r"facebookexternalhit/[\d.]+ Facebot Twitterbot/"),
        ("KakaoTalk", r"kakaotalk-scrap"),
        ("LINE", r"line-poker|Linespider"),
        ("Facebook", r"facebook(?:externalhit|catalog/)|Facebot|[Mm]eta-[Ee]xternal(?:agent|fetcher|[Hh]it)/"),
        ("Slack", r"Slackbot|Slack-ImgProxy"),
        ("Discord", r"Discordbot"),
        ("Telegram", r"TelegramBot"),
        ("Mattermost", r"[Mm]attermost-[Bb]ot"),
        ("Matrix", r"^Synapse(?: \(bot|/\d)"),
        ("Zulip", r"ZulipURLPreview"),
        ("Google Messages", r"GoogleMessages/"),
        ("Viber", r"^Viber\b"),
        ("Twitter", r"Twitterbot"),
        ("Bluesky", r"Bluesky Cardyb|^Bluesky/|BlueskyPreviewBot"),
        ("LinkedIn", r"LinkedInBot"),
        ("Reddit", r"redditbot"),
        ("Pinterest", r"[Pp]interest(?:bot|\.com/bot)"),
        ("Snapchat", r"Snap ?URL ?Preview"),
        ("Mastodon", r"Mastodon/"),
        ("Apple", r"Applebot"),
        ("Notion", r"^Notion/"),
        ("Nextcloud", r"Nextcloud Server Crawler"),
        # Teams has it from Skype, which is no more.
        ("Microsoft Teams", r"SkypeUriPreview|^Microsoft Teams\b|^Teams/"),
        ("Microsoft SafeLinks", r"[Ss]afe[Ll]inks|BingPreview/|Microsoft-URLAnalyzer"),
        # It looks at a link in a document before it hands it to the browser.
        ("Microsoft Office", r"ms-office\b|^Microsoft Office\b"),
        ("Microsoft", r"MicrosoftPreview/"),
        ("Proofpoint", r"[Pp]roof[Pp]oint|[Uu][Rr][Ll][Dd]efense"),
        ("Barracuda", r"[Bb]arracuda"),
        ("Mimecast", r"[Mm]imecast"),
        ("Sogou", r"Sogou[\w ]*[Ss]pider"),
    )
)

#: More that the list misses: other mail filters, and whoever says what it does.
MISSING: Final = (
    "Cisco ?SecureEmail",
    "Cloudmark",
    "FireEye",
    "Forcepoint",
    "FortiMail",
    "IronPort",
    "MessageLabs",
    "Symantec",
    "Trend ?Micro",
    r"(?i:(?:link|uri|url)[ _-]?preview|unfurl)",
)

#: The tags of what people fetch files with. A browser that a program drives is a browser.
FETCHERS: Final = frozenset({"http-library", "browser-automation"})

#: Other entries that are no previewers, or whose pattern is too wide: it also fits a browser or a library.
WRONG: Final = frozenset({
    # What people let fetch files for them.
    "AppEngine-Google",
    "Google-Apps-Script",
    r"IFTTT\/",
    r"Integromat\/",
    r"Make\/",
    r"Retool\/",
    r"SFDC-Callout\/",
    "Zapier",
    "Indy Library",
    r"Fetch\/",
    # Browsers: those in Facebook, Viber and Notion, and Sogou's own.
    "MetaIAB Facebook",
    "Viber",
    r"Notion\/",
    "Sogou",
    # Libraries of that name, for Pascal and for Java.
    "Synapse",
})  # fmt: skip


def previewer(agent: str | None) -> str | None:
    """Return what to call whoever previews or scans under the name ``agent``; ``None`` for a recipient.

    :param agent: what the request says under User-Agent.
    """
    return _recognised(agent[:LENGTH]) if agent else None


@lru_cache(maxsize=REMEMBERED)
def _recognised(agent: str) -> str | None:
    for name, pattern in NAMED:
        if pattern.search(agent):
            return name
    other = _OTHERS.search(agent)
    return None if other is None else _readable(agent, *other.span())


def _readable(agent: str, first: int, end: int) -> str:
    """Return a name for whoever was recognised by a part of ``agent``: the words of which it is a part."""
    while first > 0 and _WORD.fullmatch(agent, first - 1, first):
        first -= 1
    while end < len(agent) and _WORD.fullmatch(agent, end, end + 1):
        end += 1
    name = _ADDRESS.sub("", agent[first:end]).partition("/")[0]
    return _UNREADABLE.sub("", name)[:40].strip(" ._-") or "a robot"


def _alternation(patterns: Iterable[str], letters: int = 2) -> str:
    """Return one expression for all of ``patterns``.

    At each place of a text an expression tries its alternatives in turn.  There are few of them
    where those that begin with the same letters are one.
    """
    begins: defaultdict[str, list[str]] = defaultdict(list)
    for pattern in patterns:
        literal = letters > 0 and "|" not in pattern and _LITERAL.match(pattern)
        begins[pattern[0] if literal else ""].append(pattern[1:] if literal else f"(?:{pattern})")
    whole = begins.pop("", [])
    grouped = [f"{letter}(?:{_alternation(ends, letters - 1)})" for letter, ends in begins.items()]
    return "|".join(grouped + whole)


def _others(entries: Iterable[Entry]) -> Iterable[str]:
    """Return the patterns of the list that are taken from it, and those that it misses."""
    yield from MISSING
    for entry in entries:
        if FETCHERS.isdisjoint(entry["tags"]) and entry["pattern"] not in WRONG:
            yield entry["pattern"]


_WORD: Final = re.compile(r"[\w.-]", re.ASCII)
_ADDRESS: Final = re.compile(r"https?:/*(?:www\.)?|^www\.|\.html?$")
_UNREADABLE: Final = re.compile(r"[^ -~]|[<>\"(){};,+]")
# A pattern that begins with a letter that stands for itself, however often what follows may be there.
_LITERAL: Final = re.compile(r"[A-Za-z0-9](?![*?+{])")

_OTHERS: Final = re.compile(_alternation(_others(CRAWLER_USER_AGENTS_DATA)))
