"""What people are shown: pages in their language, also where something went wrong."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Concatenate, Final, ParamSpec, TypeAlias

from filedropd import errors
from filedropd.drops import Rules
from filedropd.http.request import Request
from filedropd.web import assets, recipients
from filedropd.web.answers import HTML, answer
from filedropd.web.assets import Asset
from filedropd.web.languages import Language, Languages, shipped
from filedropd.web.pages import POLICY, REFERRER_POLICY, Pages
from filedropd.web.problems import refusal

P = ParamSpec("P")
#: The name of an error's words in the catalogues, below its status code, and the values that they need.
Said: TypeAlias = tuple[str, dict[str, object]]

#: The link is a secret that goes nowhere else, and the form must tell us where it comes from.
FIELDS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": REFERRER_POLICY,
    "X-Robots-Tag": "noindex",
}
#: What asks again makes sense for, once some time has passed.
_PASSING: Final = frozenset({423, 429, 500, 503, 507})
#: Where the form is: whatever is wrong with one that was sent, another can be.
_FORM: Final = "/"


class People:
    """Answers those who read pages.

    :param rules: what holds for drops here.
    :param languages: those that there are.
    """

    def __init__(self, pages: Pages, rules: Rules, languages: Languages | None = None) -> None:
        self.pages = pages
        self._rules = rules
        self._languages = shipped() if languages is None else languages
        self._upload: dict[str, Asset] = {}

    def language(self, request: Request) -> Language:
        """Return the language that a request asks for, of those that there are."""
        return self._languages.preferred(request.header("Accept-Language"))

    def show(self, request: Request, code: int, page: bytes, *, vary: str = "") -> None:
        """Answer with ``page``, which nobody keeps.

        :param vary: what it depends on, beside the reader's language.
        """
        self._set(request, vary)
        answer(request, code, HTML, page)

    def show_upload(self, request: Request) -> None:
        """Answer with the form that leaves a file: the same for all of a language, so it is made once."""
        language = self.language(request)
        page = self._upload.get(language.code)
        if page is None:
            page = self._upload[language.code] = Asset.of(self.pages.upload(language, self._rules), HTML)
        self._set(request)
        # The form itself is no secret: let people find it.
        request.responseHeaders.removeHeader("X-Robots-Tag")
        assets.send(request, page, assets.ASK_FIRST)

    def problem(self, request: Request, error: errors.FiledropError, *, again: str | None = None) -> None:
        """Answer an error with a page.

        :param again: where to ask again once it has passed.
        """
        refused = refusal(error)
        for name, lines in refused.headers.getAllRawHeaders():
            request.responseHeaders.setRawHeaders(name, lines)
        language = self.language(request)
        said, values = _said(error, language, self._rules)
        page = self.pages.problem(
            language,
            refused.code,
            refused.reason.decode("ascii"),
            error.detail,
            said=said,
            values=values,
            # That of a lock is for programs, which ask again and again: it does not say when the file is free.
            retry_after=None if isinstance(error, errors.Locked) else getattr(error, "retry_after", None),
            again=again if refused.code in _PASSING or again == _FORM else None,
        )
        self.show(request, refused.code, page, vary="Accept, User-Agent, Cookie")

    async def told(
        self,
        request: Request,
        act: Callable[Concatenate[Request, P], Awaitable[None]],
        *arguments: P.args,
        **named: P.kwargs,
    ) -> None:
        """Do ``act``; what goes wrong is told to a person's browser as a page.

        Whoever follows a link asks again where he is.
        """
        try:
            await act(request, *arguments, **named)
        except errors.FiledropError as error:
            if request.startedWriting or not recipients.reads_pages(request):
                raise
            self.problem(request, error, again=request.path.decode("ascii", "replace"))

    def _set(self, request: Request, vary: str = "") -> None:
        for name, value in FIELDS.items():
            request.setHeader(name, value)
        request.setHeader("Content-Language", self.language(request).code)
        request.setHeader("Vary", f"{vary}, Accept-Language" if vary else "Accept-Language")


def _said(error: errors.FiledropError, language: Language, rules: Rules) -> Said:
    """Return what an error is called in the catalogues."""
    said: Said = "detail", {}
    match error:
        case errors.Gone():
            said = error.reason, {}
        case errors.Locked():
            said = "kept", {"span": language.span(rules.resume_window)}
        case errors.TooLarge():
            said = "limit", {"limit": language.size(error.limit)}
        case errors.BadRequest(about="expires"):
            said = "expires", {"span": language.span(rules.max_expires)}
        case errors.BadRequest(about="downloads"):
            said = "downloads", {"count": rules.max_downloads}
        case errors.BadRequest(about=about) if about:
            said = about, {}
    return said
