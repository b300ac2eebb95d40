"""A link as people and their browsers ask for it: the page, its button, and the token that the button gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from twisted.internet import reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.task import deferLater

from filedropd.model import Touch
from filedropd.testing import Response, Wire, request
from filedropd.testing.wire import CLIENT
from tests.api import BOUNDARY, ELSEWHERE, FILE, APITestCase, form, part

#: What a browser says of itself.
BROWSER: Final = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
}
PREVIEWER: Final = {"User-Agent": "TelegramBot (like TwitterBot)"}
URLENCODED: Final = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART: Final = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def bearer(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the header field that shows who the owner is."""
    return {"Authorization": f"Bearer {told['owner_token']}"}


def place(answer: Response) -> str:
    """Return where a redirect leads, without the host."""
    parts = urlsplit(answer.header("Location") or "")
    return f"{parts.path}?{parts.query}"


class DownloadsTestCase(APITestCase):
    """What these tests share."""

    def events(self, told: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what a drop's owner is told, without when."""
        events = self.ask("GET", f"{told['path']}/status", bearer(told)).json()["events"]
        return [{name: value for name, value in event.items() if name != "at"} for event in events]

    def assertPage(self, answer: Response, status: int = 200) -> None:
        """The answer is a page, and is not kept by anybody."""
        told = (answer.status, answer.header("Content-Type"), answer.header("Cache-Control"))
        self.assertEqual((status, "text/html; charset=utf-8", "no-store"), told, answer.body)
        self.assertIn("default-src 'none'", answer.header("Content-Security-Policy") or "")
        self.assertIsNone(answer.header("Set-Cookie"))

    def assertNothingTaken(self, told: Mapping[str, Any], data: bytes = b"content") -> None:
        """The file is there as before."""
        (drop,) = self.core.rows()
        self.assertEqual(0, drop.opened)
        self.assertEqual((200, data), ((answer := self.ask("GET", told["path"])).status, answer.body))


class PageTests(DownloadsTestCase):
    """Who is shown the page."""

    def test_browser(self) -> None:
        """A browser is shown a page with a button, which takes nothing and is told to the owner."""
        told = self.leave(b"what is in it")
        answer = self.ask("GET", told["path"], BROWSER)
        self.assertPage(answer)
        self.assertIn(f'action="{told["path"]}"'.encode(), answer.body)
        self.assertNotIn(b"what is in it", answer.body)
        self.assertEqual([{"event": "opened"}], self.events(told))
        self.assertNothingTaken(told, b"what is in it")

    def test_fields(self) -> None:
        """The page is not the file: nobody may resume it, frame it or keep it, and it differs by who asks."""
        answer = self.ask("GET", self.leave()["path"], BROWSER | {"Range": "bytes=0-0"})
        self.assertPage(answer)
        for name in ("Accept-Ranges", "ETag", "Content-Disposition", "Filedrop-Claim"):
            self.assertIsNone(answer.header(name), name)
        self.assertEqual("Accept, User-Agent, Cookie, Accept-Language", answer.header("Vary"))
        self.assertEqual("same-origin", answer.header("Referrer-Policy"))

    def test_previewer(self) -> None:
        """So is a program that makes previews, whatever it accepts, and the owner is told which."""
        told = self.leave(b"content")
        for accept in ({}, {"Accept": "*/*"}, {"Accept": "image/png"}):
            self.assertPage(self.ask("GET", told["path"], PREVIEWER | accept))
        self.assertEqual([{"event": "previewed", "by": "Telegram"}] * 3, self.events(told))
        self.assertNothingTaken(told)

    def test_program(self) -> None:
        """A program that fetches files gets the file."""
        programs: tuple[dict[str, str], ...] = (
            {},
            {"Accept": "*/*"},
            {"User-Agent": "curl/8.9.1"},
            {"User-Agent": "Wget/1.25", "Accept": "text/html"},
        )
        for headers in programs:
            answer = self.ask("GET", self.leave(b"content")["path"], headers)
            self.assertEqual((200, b"content"), (answer.status, answer.body), headers)

    def test_head(self) -> None:
        """HEAD tells of the page what GET would, and is no event."""
        told = self.leave(b"content")
        head, got = (self.ask(method, told["path"], BROWSER) for method in ("HEAD", "GET"))
        self.assertPage(head)
        self.assertEqual((b"", got.headers), (head.body, head.headers))
        self.assertEqual([{"event": "opened"}], self.events(told))

    def test_while_somebody_downloads(self) -> None:
        """The page is shown while somebody downloads, and does not disturb him."""
        told = self.leave(data := bytes(900_000))
        wire = Wire(self.factory)
        wire.stop_reading()
        wire.send(request("GET", told["path"]))
        self.assertPage(self.ask("GET", told["path"], BROWSER))
        wire.read_on()
        self.assertEqual(data, wire.responses("GET")[0].body)

    def test_gone(self) -> None:
        """What is gone is told to a browser as a page, and to a program as JSON."""
        path = self.leave()["path"]
        self.ask("GET", path)
        page = self.ask("GET", path, BROWSER)
        self.assertPage(page, 410)
        self.assertIn(b"This file is gone", page.body)
        self.assertProblem(410, "Gone", self.ask("GET", path))
        self.assertProblem(410, "Gone", self.ask("GET", path, PREVIEWER))

    def test_never_there(self) -> None:
        """So is what was never there."""
        for path in (f"{FILE}/{'0' * 32}", f"{FILE}/x"):
            self.assertPage(self.ask("GET", path, BROWSER), 404)
            self.assertPage(self.ask("POST", path, BROWSER, b""), 404)
            self.assertProblem(404, "Not Found", self.ask("GET", path))


class ButtonTests(DownloadsTestCase):
    """POST."""

    def press(self, told: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Response:
        """Press the button."""
        return self.ask("POST", told["path"], BROWSER | (dict(headers or {})), b"")

    def test_leads_to_the_bytes(self) -> None:
        """The button leads to the link with the claim's token, and there are the bytes, for a browser too, once."""
        told = self.leave(b"content")
        pressed = self.press(told)
        self.assertEqual((303, b"", "no-store"), (pressed.status, pressed.body, pressed.header("Cache-Control")))
        token = pressed.header("Filedrop-Claim") or ""
        self.assertEqual(f"{told['url']}?claim={token}", pressed.header("Location"))
        got = self.ask("GET", place(pressed), BROWSER, client=ELSEWHERE)
        self.assertEqual((200, b"content", token), (got.status, got.body, got.header("Filedrop-Claim")))
        self.assertEqual(410, self.ask("GET", told["path"]).status)
        self.assertEqual(["claimed", "delivered"], [event["event"] for event in self.events(told)])

    def test_cookie(self) -> None:
        """The token is a cookie of this link alone, out of reach of scripts and of other sites' forms."""
        told = self.leave(b"content")
        pressed = self.press(told)
        token = pressed.header("Filedrop-Claim")
        name, *attributes = (pressed.header("Set-Cookie") or "").split("; ")
        self.assertEqual(f"filedrop-claim={token}", name)
        self.assertEqual({"HttpOnly", f"Path={told['path']}", "SameSite=Lax"}, set(attributes))
        got = self.ask("GET", told["path"], BROWSER | {"Cookie": f"a=b; {name}"}, client=ELSEWHERE)
        self.assertEqual((200, b"content"), (got.status, got.body))
        self.assertEqual(pressed.header("Set-Cookie"), got.header("Set-Cookie"))

    async def test_opened_again(self) -> None:
        """Who opens the link again, with the cookie alone, is shown the page, which asks for no password; nothing is sent."""
        self.use_passwords()
        answer = await self.ask_slowly("PUT", FILE, {"Filedrop-Password": "s3cret"}, b"content")
        told = answer.json() | {"path": f"{FILE}/{answer.json()['id']}"}
        pressed = await self.ask_slowly("POST", told["path"], BROWSER | URLENCODED, b"password=s3cret")
        cookie = {"Cookie": (pressed.header("Set-Cookie") or "").partition(";")[0], "Sec-Fetch-Dest": "document"}
        page = self.ask("GET", told["path"], BROWSER | cookie)
        self.assertPage(page)
        self.assertIn(b"data-begun", page.body)
        self.assertNotIn(b'type="password"', page.body)
        self.assertEqual(["claimed"], [event["event"] for event in self.events(told)])
        got = self.ask("GET", place(pressed), BROWSER | cookie)
        self.assertEqual((200, b"content"), (got.status, got.body))
        self.assertPage(self.ask("GET", told["path"], BROWSER | cookie), 410)

    def test_nobody_else(self) -> None:
        """Once it is pressed others are told to come back; if nothing is fetched, for five seconds."""
        told = self.leave(b"content")
        self.press(told)
        self.assertProblem(423, "Locked", self.ask("GET", told["path"], client=ELSEWHERE))
        page = self.ask("POST", told["path"], BROWSER, b"", client=ELSEWHERE)
        self.assertPage(page, 423)
        self.assertEqual("5", page.header("Retry-After"))
        self.core.elapse(5)
        self.assertEqual(200, self.ask("GET", told["path"], client=ELSEWHERE).status)

    def test_twice(self) -> None:
        """Pressed twice, it is one claim."""
        told = self.leave(b"content")
        first, second = self.press(told), self.press(told)
        self.assertEqual(place(first), place(second))
        self.assertEqual(1, self.core.rows()[0].opened)

    def test_late(self) -> None:
        """Who comes too late with his token is asked again what he wants: the claim is not his any more."""
        told = self.leave(b"content")
        pressed = self.press(told)
        self.core.elapse(5)
        self.assertPage(self.ask("GET", place(pressed), BROWSER))

    def test_gone(self) -> None:
        """The button of a drop that is gone meanwhile leads to a page that says so."""
        told = self.leave(b"content")
        self.ask("DELETE", told["path"], bearer(told))
        self.assertPage(self.press(told), 410)
        self.assertProblem(410, "Gone", self.ask("POST", told["path"], body=b""))

    def test_from_another_site(self) -> None:
        """A form on another site only leads to the page."""
        told = self.leave(b"content")
        for headers in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"},
            {"Origin": "http://elsewhere.example"},
            {"Origin": "null"},
        ):
            self.assertPage(self.press(told, headers))
        self.assertNothingTaken(told)

    def test_from_here(self) -> None:
        """Our own page's form does, and so does a program, which comes from no site."""
        for headers in (
            {"Sec-Fetch-Site": "same-origin"},
            {"Sec-Fetch-Site": "none"},
            {"Origin": "http://localhost"},
            {},
        ):
            self.assertEqual(303, self.press(self.leave(), headers).status, headers)
        self.assertEqual(303, self.ask("POST", self.leave()["path"], body=b"").status)

    def test_several(self) -> None:
        """Of a drop with several copies each who presses gets one."""
        told = self.leave(b"content", downloads="2")
        ours = self.press(told)
        theirs = self.ask("POST", told["path"], BROWSER, b"", client=ELSEWHERE)
        self.assertNotEqual(place(ours), place(theirs))
        self.assertEqual([200, 200, 410], [self.ask("GET", place(each)).status for each in (ours, theirs, ours)])


class TokenTests(DownloadsTestCase):
    """Whoever shows a claim's token is its recipient."""

    def setUp(self) -> None:
        super().setUp()
        self.data = bytes(range(256)) * 3000
        self.told = self.leave(self.data)
        self.path = self.told["path"]

    def broken(self, headers: Mapping[str, str] | None = None) -> tuple[str, bytes]:
        """Break a download off, and return the claim's token and what came."""
        wire = Wire(self.factory)
        wire.stop_reading()
        wire.send(request("GET", self.path, headers))
        wire.take(200_000)
        wire.reset()
        answer = wire.responses("GET")[0]
        return answer.header("Filedrop-Claim") or "", answer.body

    def test_given(self) -> None:
        """Each 200 and 206 carries it, in a field and as a cookie; nothing else does."""
        part_of_it = self.ask("GET", self.path, {"Range": "bytes=0-9"})
        etag = {"If-None-Match": part_of_it.header("ETag") or ""}
        others = [
            self.ask("HEAD", self.path),
            self.ask("GET", self.path, etag),
            self.ask("GET", self.path, {"Range": "bytes=999999-"}),
            self.ask("GET", self.path, client=ELSEWHERE),
        ]
        self.assertEqual([200, 304, 416, 423], [answer.status for answer in others])
        whole = self.ask("GET", self.path)
        for answer in (part_of_it, whole):
            token = answer.header("Filedrop-Claim")
            self.assertRegex(token or "", r"\A[0-9a-f]{32}\Z")
            self.assertIn(f"filedrop-claim={token};", answer.header("Set-Cookie") or "")
        self.assertEqual(
            {(None, None)}, {(each.header("Filedrop-Claim"), each.header("Set-Cookie")) for each in others}
        )

    def test_preconditions(self) -> None:
        """What If-Match does not name is 412 and takes nothing; it is judged first, and where there would be an answer."""
        etag = self.ask("HEAD", self.path).header("ETag") or ""
        for field in ('"nope"', f"W/{etag}", '"nope", W/"x"'):
            for method in ("GET", "HEAD"):
                answer = self.ask(method, self.path, {"If-Match": field, "If-None-Match": etag})
                self.assertEqual((412, None), (answer.status, answer.header("Filedrop-Claim")), field)
        self.assertEqual([], self.events(self.told))
        slow = Wire(self.factory)
        slow.stop_reading()
        slow.send(request("GET", self.path))
        slow.take(100_000)
        for name, value in (("If-Match", '"nope"'), ("If-None-Match", etag), ("If-None-Match", "*")):
            for method in ("GET", "HEAD"):
                self.assertEqual(423, self.ask(method, self.path, {name: value}, client=ELSEWHERE).status, name)
        slow.read_on()
        slow.close()
        for before in ("", '"nope", '):
            path = self.leave(self.data)["path"]
            field = before + (self.ask("HEAD", path).header("ETag") or "")
            got = self.ask("GET", path, {"If-Match": field})
            self.assertEqual((200, True), (got.status, got.body == self.data), field)

    def test_body_beside(self) -> None:
        """What comes with a request for a file, and is nobody's, is not kept."""
        status = {"Accept": "text/event-stream", **bearer(self.told)}
        for target, fields in ((f"{self.path}/status", status), (self.path, {})):
            wire = Wire(self.factory)
            wire.stop_reading()
            wire.send(request("GET", target, {"Content-Length": "99999999", **fields}))
            wire.run()
            for _ in range(100):
                wire.send(bytes(65_536))
            self.assertFalse(wire.paused, target)

    def test_ways(self) -> None:
        """It is shown as a field, a cookie or a parameter, from anywhere, by whatever program."""
        for way in ("field", "cookie", "parameter"):
            self.path = self.leave(self.data)["path"]
            token, come = self.broken()
            shown = {"field": {"Filedrop-Claim": token}, "cookie": {"Cookie": f"filedrop-claim={token}"}}.get(way, {})
            target = f"{self.path}?claim={token}" if way == "parameter" else self.path
            headers = {"Range": f"bytes={len(come)}-", "User-Agent": "another", **shown}
            self.assertEqual(423, self.ask("GET", self.path, {"Range": f"bytes={len(come)}-"}, client=ELSEWHERE).status)
            rest = self.ask("GET", target, headers, client=ELSEWHERE)
            self.assertEqual((206, self.data), (rest.status, come + rest.body), way)

    def test_bytes_for_a_browser(self) -> None:
        """A browser that shows it gets the bytes, and not the page."""
        token, come = self.broken(BROWSER | {"Accept": "*/*"})
        headers = BROWSER | {"Cookie": f"filedrop-claim={token}", "Range": f"bytes={len(come)}-"}
        rest = self.ask("GET", self.path, headers)
        self.assertEqual((206, self.data), (rest.status, come + rest.body))

    def test_others_token(self) -> None:
        """The token of another drop's claim, or none at all, says nothing."""
        token, _ = self.broken()
        other = self.leave(b"content")["path"]
        self.assertPage(self.ask("GET", f"{other}?claim={token}", BROWSER))
        for wrong in ("0" * 32, "x", token[:-1], token.upper()):
            self.assertEqual(423, self.ask("GET", f"{self.path}?claim={wrong}", client=ELSEWHERE).status, wrong)

    def test_superseded(self) -> None:
        """With it a new request takes over from a download that hangs."""
        slow = Wire(self.factory)
        slow.stop_reading()
        slow.send(request("GET", self.path))
        slow.take(100_000)
        token = slow.responses("GET")[0].header("Filedrop-Claim") or ""
        self.assertEqual(423, self.ask("GET", self.path).status)
        self.assertEqual(423, self.ask("HEAD", f"{self.path}?claim={token}").status)
        taken_over = self.ask("GET", f"{self.path}?claim={token}", client=ELSEWHERE)
        self.assertEqual((200, self.data), (taken_over.status, taken_over.body))
        self.assertTrue(slow.was_reset)

    def test_forwarded(self) -> None:
        """Who comes by a proxy is known by the token alone."""
        for name, value in (
            ("X-Forwarded-For", "198.51.100.9"),
            ("Forwarded", "for=198.51.100.9"),
            ("Via", "1.1 proxy"),
        ):
            self.path = self.leave(self.data)["path"]
            token, come = self.broken({name: value})
            resume = {name: value, "Range": f"bytes={len(come)}-"}
            self.assertEqual(423, self.ask("GET", self.path, resume).status, name)
            rest = self.ask("GET", self.path, resume | {"Filedrop-Claim": token})
            self.assertEqual((206, self.data), (rest.status, come + rest.body), name)

    def test_unix(self) -> None:
        """So is who comes over a UNIX socket."""
        peer = UNIXAddress(None)
        wire = Wire(self.factory, client=peer, server=peer)
        wire.stop_reading()
        wire.send(request("GET", self.path))
        wire.take(100_000)
        wire.reset()
        answer = wire.responses("GET")[0]
        self.assertEqual(423, self.ask("GET", self.path, client=peer).status)
        shown = f"{self.path}?claim={answer.header('Filedrop-Claim')}"
        self.assertEqual(200, self.ask("GET", shown, client=peer).status)

    def test_other_program(self) -> None:
        """Another program at the same address is another recipient."""
        self.broken({"User-Agent": "one"})
        self.assertEqual(423, self.ask("GET", self.path, {"User-Agent": "two"}).status)
        self.assertEqual(200, self.ask("GET", self.path, {"User-Agent": "one"}).status)


class SecureTests(DownloadsTestCase):
    """Links under https."""

    public_url = "https://files.example"

    def test_cookie(self) -> None:
        """The cookie goes nowhere else."""
        told = self.leave(b"content")
        for answer in (self.ask("POST", told["path"], body=b""), self.ask("GET", told["path"])):
            self.assertIn("Secure", (answer.header("Set-Cookie") or "").split("; "))

    def test_location(self) -> None:
        """The button leads to where links lead, and is pressed there."""
        told = self.leave(b"content")
        foreign = self.ask("POST", told["path"], BROWSER | {"Origin": "http://localhost"}, b"")
        self.assertPage(foreign)
        pressed = self.ask("POST", told["path"], BROWSER | {"Origin": self.public_url or ""}, b"")
        self.assertTrue((pressed.header("Location") or "").startswith(f"https://files.example{told['path']}?claim="))


class PasswordTests(DownloadsTestCase):
    """The page of a drop with a password."""

    def setUp(self) -> None:
        super().setUp()
        self.use_passwords()

    async def left(self) -> dict[str, Any]:
        """Leave a file with a password."""
        told: dict[str, Any] = (
            await self.ask_slowly("PUT", FILE, {"Filedrop-Password": "pässword"}, b"content")
        ).json()
        return told | {"path": f"{FILE}/{told['id']}"}

    async def test_page(self) -> None:
        """The page asks for it, and needs none to be shown."""
        told = await self.left()
        page = self.ask("GET", told["path"], BROWSER)
        self.assertPage(page)
        self.assertIn(b'type="password"', page.body)

    async def test_right(self) -> None:
        """The right one in the form opens a claim, whose token then stands for it; however the form is sent."""
        for headers, body in (
            (URLENCODED, b"password=p%C3%A4ssword"),
            (URLENCODED, "password=pässword&x=y".encode()),
            (MULTIPART, form(part("other", "x"), part("password", "pässword"))),
        ):
            told = await self.left()
            pressed = await self.ask_slowly("POST", told["path"], BROWSER | headers, body)
            self.assertEqual(303, pressed.status, pressed.body)
            got = self.ask("GET", place(pressed), BROWSER, client=ELSEWHERE)
            self.assertEqual((200, b"content"), (got.status, got.body))

    async def test_wrong(self) -> None:
        """A wrong one, or none, shows the page again; no browser asks for it in a dialogue; nothing is taken."""
        told = await self.left()
        for headers, body in (
            (URLENCODED, b"password=wrong"),
            (URLENCODED, b"password="),
            (URLENCODED, b"password=%ff%fe"),
            (URLENCODED, b"password=" + b"x" * 3000),
            (MULTIPART, form(part("password", "wrong"))),
            (MULTIPART, form(part("other", "wrong"))),
            ({}, b""),
            ({"Content-Type": "text/plain"}, b"password=p\xc3\xa4ssword"),
        ):
            page = await self.ask_slowly("POST", told["path"], BROWSER | headers, body)
            self.assertPage(page, 401)
            self.assertNotIn("Basic", page.header("WWW-Authenticate") or "")
            self.assertIn(b"That is not the password", page.body)
        self.assertEqual(0, self.core.rows()[0].opened)

    async def test_program(self) -> None:
        """A program is told in JSON, and can give it as with GET."""
        told = await self.left()
        self.assertProblem(401, "Unauthorized", await self.ask_slowly("POST", told["path"], body=b""))
        basic = {"Authorization": "Basic bWU6cMOkc3N3b3Jk"}
        self.assertEqual(303, (await self.ask_slowly("POST", told["path"], basic, b"")).status)

    async def test_address(self) -> None:
        """The address does not stand for it, not even for whoever has broken off; the token does."""
        told = await self.left()
        target = f"{told['path']}?password=p%C3%A4ssword"
        got = await self.ask_slowly("GET", target, {"Range": "bytes=0-2"})
        self.assertEqual(206, got.status)
        resume = {"Range": "bytes=3-"}
        self.assertEqual(401, (await self.ask_slowly("GET", told["path"], resume)).status)
        shown = {"Filedrop-Claim": got.header("Filedrop-Claim") or ""}
        self.assertEqual(b"tent", (await self.ask_slowly("GET", told["path"], resume | shown)).body)

    async def test_wrong_takes_nothing(self) -> None:
        """Who shows a wrong one waits for nobody and takes nothing over."""
        told = await self.left()
        slow = Wire(self.factory)
        slow.stop_reading()
        slow.send(request("GET", f"{told['path']}?password=p%C3%A4ssword"))
        while not self.core.running:
            await deferLater(reactor, 0, slow.run)
        for client in (CLIENT, ELSEWHERE):
            answer = await self.ask_slowly("GET", f"{told['path']}?password=wrong", client=client)
            self.assertEqual(401, answer.status)
        slow.read_on()
        slow.close()
        self.assertEqual(b"content", slow.responses("GET")[0].body)


class FormTests(DownloadsTestCase):
    """What the button's form may be."""

    def test_large(self) -> None:
        """A form that cannot be the button's is refused, with its length or without."""
        told = self.leave(b"content")
        self.assertProblem(413, "Request Entity Too Large", self.ask("POST", told["path"], URLENCODED, b"x" * 70_000))
        wire = Wire(self.factory)
        headers = URLENCODED | {"Transfer-Encoding": "chunked"}
        wire.send(request("POST", told["path"], headers), b"11170\r\n" + b"x" * 70_000 + b"\r\n0\r\n\r\n")
        self.assertEqual(413, wire.responses("POST")[0].status)
        parts = form(part("file", b"x" * 70_000, '; filename="a"'))
        wire = Wire(self.factory)
        chunk = b"%x\r\n" % len(parts) + parts  # and no end of the body
        wire.send(request("POST", told["path"], MULTIPART | {"Transfer-Encoding": "chunked"}), chunk)
        self.assertEqual(413, wire.responses("POST")[0].status)
        self.assertNothingTaken(told)

    def test_not_noted_without_end(self) -> None:
        """However often a page is looked at, the list of events has an end."""
        told = self.leave(b"content")
        for _ in range(600):
            self.ask("GET", told["path"], BROWSER)
        events = self.events(told)
        self.assertEqual((500, {Touch.OPENED.value}), (len(events), {event["event"] for event in events}))
        self.ask("GET", told["path"])
        self.assertEqual("delivered", self.events(told)[-1]["event"])
