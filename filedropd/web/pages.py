"""The pages for people. They work without JavaScript, and nothing on them comes from elsewhere.

The templates are in ``ui/pages/``, the words in ``ui/words/``, what pages load in ``ui/assets/``.  Every value is
escaped; a name that somebody gave a file stands by itself, so that its letters cannot reorder those around it.
"""

from __future__ import annotations

import json
import shlex
import unicodedata
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from filedropd.drops import Rules
from filedropd.model import Drop
from filedropd.names import stands
from filedropd.web import assets, kinds
from filedropd.web.answers import moment
from filedropd.web.assets import Assets
from filedropd.web.languages import Language

#: What a page may do: run and look as we wrote it, ask us, and send a form back to us. Nothing else.
#: ``blob:`` is a QR code that a script has fetched with the owner's token.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)

#: What a page with a form is served with. Without a referrer the origin of its form would be ``null``.
REFERRER_POLICY: Final = "same-origin"

#: What the form offers for how long a file is kept, in seconds, as far as the operator allows it.
SPANS: Final = (3_600, 86_400, 3 * 86_400, 7 * 86_400, 30 * 86_400)

#: The parts of the catalogue that scripts speak from.
_UPLOAD_WORDS: Final = ("units", "when", "terms", "drops", "faults", "status", "events")
_DOWNLOAD_WORDS: Final = ("units", "when", "fetching")

_TIMES: Final = ((86400, "d"), (3600, "h"), (60, "m"))

# What could reorder or hide letters: no stored name has them (http/disposition.py), and a page trusts no name.
_UNSEEN: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


class Pages:
    """Fills the templates.

    :param root: what stands before every path, where a proxy puts us below its own root.
    :param api: the path under which drops live, from the root of the host.
    """

    def __init__(self, *, root: str = "", api: str = "/api/v1.0/file", loaded: Assets | None = None) -> None:
        self._root = root
        self._api = api
        self._assets = assets.shipped() if loaded is None else loaded

    def upload(self, language: Language, rules: Rules) -> bytes:
        """Return the form that leaves a file."""
        return self._filled(
            "upload.html",
            language,
            script="upload.js",
            dictionary=language.sections(*_UPLOAD_WORDS),
            rules=rules,
            size=language.size(rules.max_file_size),
            spans=[(duration(each), language.span(each), each == rules.expires) for each in _spans(rules)],
            kept=language.span(rules.expires),
        )

    def uploaded(self, language: Language, told: dict[str, Any], drop: Drop, code: str) -> bytes:
        """Return the page with the link; ``told`` is what the JSON API would have answered, ``code`` the link as SVG."""
        return self._filled(
            "uploaded.html",
            language,
            told=told,
            name=visible(drop.name),
            size=language.size(drop.size),
            until=language.moment(drop.expires_at),
            code=Markup(code),  # noqa: S704 - our own, and of a link that is of our own making
            status=_as_owner(told, "/status"),
            revoke=_as_owner(told, "", "-X", "DELETE"),
        )

    def download(
        self,
        language: Language,
        drop: Drop,
        action: str,
        *,
        link: str,
        window: float,
        wrong_password: bool = False,
        begun: bool = False,
    ) -> bytes:
        """Return the page with the button that claims a drop. To show it claims nothing.

        :param action: where the form goes, the link's path.
        :param link: the whole link, for those who fetch it otherwise.
        :param window: seconds for which a broken download waits for its recipient.
        :param wrong_password: one was given, and it was not the drop's.
        :param begun: who asks has pressed the button before, and has not got all of it yet.
        """
        secret = drop.password is not None and not begun
        until = language.moment(drop.expires_at)
        size = language.size(drop.size)
        first = "again" if drop.delivered else "first"
        return self._filled(
            "download.html",
            language,
            script="download.js",
            dictionary=language.sections(*_DOWNLOAD_WORDS),
            name=visible(drop.name),
            size=size,
            octets=drop.size,
            kind=language.say(f"kinds.{kinds.kind(drop.content_type)}"),
            type=drop.content_type,
            moment=moment(drop.expires_at),
            until=until,
            left=language.say(
                "download.begun" if begun else f"download.left_{first}", count=max(drop.downloads - drop.delivered, 1)
            ),
            begun=begun,
            summary=language.say("download.summary", size=size, moment=until),
            action=action,
            secret=secret,
            wrong=wrong_password,
            window=language.span(window),
            # With a name and no password curl asks for it: it stays out of the shell's history.
            command=f"curl -OJ {'-u me ' if drop.password is not None else ''}{shlex.quote(link)}",
        )

    def problem(
        self,
        language: Language,
        code: int,
        words: str,
        detail: str,
        *,
        said: str = "detail",
        values: Mapping[str, object] | None = None,
        retry_after: int | None = None,
        again: str | None = None,
    ) -> bytes:
        """Return what a person is shown in place of an error's JSON.

        :param words: what the error is called on the wire.
        :param detail: what happened and what to do about it, for what the catalogue has no words for.
        :param said: what its words are called in the catalogue, below its status code.
        :param values: what stands in them.
        :param retry_after: seconds after which it makes sense to ask again.
        :param again: where to ask again, as it is asked for here.
        """
        told = next((key for key in (f"problem.{code}.{said}", f"problem.{code}.detail") if language.has(key)), None)
        known = next((key for key in (f"problem.{code}", "problem.500") if language.has(key)), "problem.500")
        heading = words if known == "problem.500" and code < 500 else language.say(f"{known}.heading")
        return self._filled(
            "problem.html",
            language,
            heading=heading,
            detail=detail if told is None else language.say(told, **(values or {})),
            foreign=told is None and language.code != "en",
            # What is wrong with a form that no browser sends is for whoever wrote the program that does.
            remark=detail if told == "problem.400.detail" else None,
            wait=None if retry_after is None else language.say("problem.wait", span=language.wait(retry_after)),
            again=None if again is None else self._root + again,
            code=code,
            words=words,
        )

    def _filled(
        self,
        template: str,
        language: Language,
        *,
        script: str | None = None,
        dictionary: object = None,
        **values: object,
    ) -> bytes:
        modules = [] if script is None else self._assets.modules(script)
        page = _templates().get_template(template)
        return page.render(
            language=language,
            say=language.say,
            root=self._root,
            api=self._root + self._api,
            asset=lambda name: self._root + self._assets.path(name),
            modules=modules,
            dictionary=None if dictionary is None else _data(dictionary),
            **values,
        ).encode("utf-8", "replace")


def visible(name: str) -> str:
    """Return a file's name with a mark in place of what cannot be seen or would reorder the others."""
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(each) in _UNSEEN and not stands(name, place) else each
        for place, each in enumerate(name)
    )


def duration(seconds: float) -> str:
    """Return a time as the form takes it."""
    for unit, name in _TIMES:
        if seconds >= unit and seconds % unit == 0:
            return f"{seconds // unit:.0f}{name}"
    return f"{seconds:.0f}s"


def _as_owner(told: dict[str, Any], below: str, *options: str) -> str:
    """Return a command that asks for what is ``below`` a link with its owner's token."""
    return shlex.join(["curl", *options, "-H", f"Authorization: Bearer {told['owner_token']}", f"{told['url']}{below}"])


def _spans(rules: Rules) -> list[float]:
    """Return how long a file can be kept: what is usual, what goes without saying, and the longest."""
    return sorted({each for each in (*SPANS, rules.expires, rules.max_expires) if each <= rules.max_expires})


def _data(value: object) -> Markup:
    """Return a value as JSON that can stand in an HTML element for data: nothing in it ends the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - nothing that begins a tag is left


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("filedropd.web", "ui/pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
