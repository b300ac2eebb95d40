"""Errors on the wire: one table, an answer for each."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from twisted.logger import LogEvent, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from filedropd import errors
from filedropd.http.interfaces import Refusal
from filedropd.web.problems import TABLE, refusal

#: Those that are never raised, but by their subclasses, and the one that has nobody to be answered.
UNANSWERED = {errors.FiledropError, errors.ProtocolError, errors.ClientGone}

#: How those are made that take something to say.
MADE: dict[type[errors.FiledropError], errors.FiledropError] = {
    errors.TooLarge: errors.TooLarge(1000),
    errors.DigestMismatch: errors.DigestMismatch("Repr-Digest", "sha-256"),
    errors.MethodNotAllowed: errors.MethodNotAllowed(["GET", "PUT"]),
    errors.Gone: errors.Gone("expired"),
    errors.Unauthorized: errors.Unauthorized("no", "Basic"),
    errors.Locked: errors.Locked(5),
    errors.TooManyRequests: errors.TooManyRequests(9),
    errors.RangeNotSatisfiable: errors.RangeNotSatisfiable(42),
    errors.Unavailable: errors.Unavailable("Wait.", retry_after=7),
}


def kinds() -> set[type[errors.FiledropError]]:
    """Return every error that there is."""

    def below(kind: type[errors.FiledropError]) -> Iterator[type[errors.FiledropError]]:
        yield kind
        for each in kind.__subclasses__():
            yield from below(each)

    return {kind for kind in below(errors.FiledropError) if kind.__module__ == errors.__name__}


def an_error(kind: type[errors.FiledropError]) -> errors.FiledropError:
    """Return an error of that kind."""
    return MADE[kind] if kind in MADE else kind()


def told(answer: Refusal) -> dict[str, str]:
    """Return what the body of an answer says."""
    body: dict[str, str] = json.loads(answer.body)
    return body


def field(answer: Refusal, name: str) -> str | None:
    """Return a header field of an answer, which it has once at most."""
    values = answer.headers.getRawHeaders(name, [])
    if len(values) > 1:
        raise AssertionError(f"{name} is there {len(values)} times")
    return values[0] if values else None


class TableTests(SynchronousTestCase):
    """Every error has its answer."""

    def test_walk(self):
        """Every kind of error in the tree has a row of its own or of what it is a kind of."""
        rows = {kind: [each for each in kind.__mro__ if each in TABLE] for kind in kinds() - UNANSWERED}
        self.assertEqual([], [kind.__name__ for kind, found in rows.items() if not found])
        self.assertGreater(len(rows), 20)

    def test_defined(self):
        """The tree that is walked is all that the module defines."""
        defined = {
            each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__
        }
        self.assertEqual(defined, kinds())

    def test_codes(self):
        """These are the codes and words that the README promises."""
        for kind, code, words in [
            (errors.MalformedRequest, 400, "Bad Request"),
            (errors.BadRequest, 400, "Bad Request"),
            (errors.PasswordRequired, 401, "Unauthorized"),
            (errors.OwnerRequired, 401, "Unauthorized"),
            (errors.ForeignOrigin, 403, "Forbidden"),
            (errors.NotFound, 404, "Not Found"),
            (errors.MethodNotAllowed, 405, "Method not Allowed"),
            (errors.RequestTimeout, 408, "Request Timeout"),
            (errors.Gone, 410, "Gone"),
            (errors.LengthRequired, 411, "Length Required"),
            (errors.TooLarge, 413, "Request Entity Too Large"),
            (errors.BodyTooLarge, 413, "Request Entity Too Large"),
            (errors.TargetTooLong, 414, "URI Too Long"),
            (errors.UnsupportedMediaType, 415, "Unsupported Media Type"),
            (errors.PreconditionFailed, 412, "Precondition Failed"),
            (errors.RangeNotSatisfiable, 416, "Range Not Satisfiable"),
            (errors.ExpectationFailed, 417, "Expectation Failed"),
            (errors.Locked, 423, "Locked"),
            (errors.TooManyRequests, 429, "Too Many Requests"),
            (errors.HeadTooLarge, 431, "Request Header Fields Too Large"),
            (errors.MethodNotImplemented, 501, "Not Implemented"),
            (errors.Unavailable, 503, "Service Unavailable"),
            (errors.VersionNotSupported, 505, "HTTP Version Not Supported"),
            (errors.InsufficientStorage, 507, "Insufficient Storage"),
        ]:
            answer = refusal(an_error(kind))
            self.assertEqual((code, words.encode(), words), (answer.code, answer.reason, told(answer)["error"]))

    def test_documented(self):
        """The README has what a method may be answered, and no status that there is not."""
        text = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
        table = text.partition("What you may meet:\n\n")[2].partition("\n\n")[0]
        rows = re.findall(r"^\| ((?:`\d{3}`(?:, )?)+) \|", table, re.MULTILINE)
        codes = {int(code) for row in rows for code in re.findall(r"\d{3}", row)}
        self.assertLessEqual({404, 405, 410, 501}, codes)
        self.assertLessEqual(codes, {code for code, _ in TABLE.values()})

    def test_bodies(self):
        """Each body is JSON that says what happened and what to do, and is as long as the head says."""
        for kind in kinds() - UNANSWERED:
            error = an_error(kind)
            answer = refusal(error)
            self.assertEqual(error.detail, told(answer)["detail"])
            self.assertGreater(len(error.detail), 1, kind)
            self.assertEqual(
                ("application/json", str(len(answer.body)), "no-store", "nosniff"),
                tuple(
                    field(answer, name)
                    for name in ("Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options")
                ),
            )
            self.assertTrue(answer.body.endswith(b"\n") and answer.body.count(b"\n") == 1)

    def test_not_logged(self):
        """What goes wrong for a client is no incident of ours."""
        with capturedLogs() as events:
            for kind in kinds() - UNANSWERED:
                self.assertNotIn("incident", told(refusal(an_error(kind))))
        self.assertEqual([], list(events))

    def test_kind_of_a_kind(self):
        """A kind that is added elsewhere is answered as what it is a kind of."""

        class Late(errors.RequestTimeout):
            default = "Late."

        answer = refusal(Late())
        self.assertEqual((408, "Late."), (answer.code, told(answer)["detail"]))

    def test_words_of_others(self):
        """Text of the client's in a detail stays a text: it ends neither the body nor a field."""
        answer = refusal(errors.BadRequest('a"b\r\nX: y\ud800</script>'))
        self.assertEqual('a"b\r\nX: y\ud800</script>', told(answer)["detail"])
        self.assertEqual(1, answer.body.count(b"\n"))


class FieldTests(SynchronousTestCase):
    """The fields that a code asks for."""

    def test_challenge(self):
        """401 says how to show what is missing; for the owner's token that is not a password."""
        self.assertEqual(
            'Basic realm="filedropd", charset="UTF-8"', field(refusal(errors.PasswordRequired()), "WWW-Authenticate")
        )
        self.assertEqual('Bearer realm="filedropd"', field(refusal(errors.OwnerRequired()), "WWW-Authenticate"))

    def test_retry(self):
        """423, 429 and 503 say when to come back."""
        self.assertEqual("9", field(refusal(errors.TooManyRequests(9)), "Retry-After"))
        self.assertEqual("5", field(refusal(errors.Locked(5)), "Retry-After"))
        self.assertEqual("7", field(refusal(errors.Unavailable("Wait.", retry_after=7)), "Retry-After"))

    def test_range(self):
        """416 says how long the file is."""
        self.assertEqual("bytes */42", field(refusal(errors.RangeNotSatisfiable(42)), "Content-Range"))

    def test_allow(self):
        """405 says what is allowed."""
        self.assertEqual("GET, PUT", field(refusal(errors.MethodNotAllowed(["GET", "PUT"])), "Allow"))

    def test_reason(self):
        """410 says why, for programs too."""
        for reason in ("delivered", "expired", "revoked", "abandoned"):
            self.assertEqual(reason, told(refusal(errors.Gone(reason)))["reason"])
        self.assertNotIn("reason", told(refusal(errors.NotFound())))

    def test_no_others(self):
        """No other code has any of them."""
        special = ("WWW-Authenticate", "Retry-After", "Content-Range", "Allow")
        for kind in kinds() - UNANSWERED - set(MADE) - {errors.PasswordRequired, errors.OwnerRequired}:
            self.assertEqual([None] * 4, [field(refusal(an_error(kind)), name) for name in special], kind)


class IncidentTests(SynchronousTestCase):
    """What is no error of the tree."""

    def answer(self, error: Exception) -> tuple[Refusal, list[LogEvent]]:
        """Return what is answered, and what was logged."""
        with capturedLogs() as events:
            answer = refusal(error)
        self.flushLoggedErrors(type(error))
        return answer, list(events)

    def test_unknown(self):
        """It is a 500 with an incident id that is in the log, with the error itself."""
        error = ValueError("canary")
        answer, (event,) = self.answer(error)
        self.assertEqual((500, "Internal Server Error"), (answer.code, told(answer)["error"]))
        self.assertRegex(told(answer)["incident"], r"\A[0-9a-f]{8}\Z")
        self.assertEqual(told(answer)["incident"], event["incident"])
        self.assertIs(error, event["log_failure"].value)

    def test_nothing_told(self):
        """The client is told nothing of the error, but the id, also in words."""
        answer, _ = self.answer(OSError(5, "canary", "/var/lib/canary"))
        for part in (answer.body, answer.reason, repr(list(answer.headers.getAllRawHeaders())).encode()):
            self.assertNotIn(b"canary", part)
            self.assertNotIn(b"OSError", part)
        self.assertIn(told(answer)["incident"], told(answer)["detail"])

    def test_own(self):
        """Each incident has an id of its own."""
        ids = {told(self.answer(ValueError())[0])["incident"] for _ in range(20)}
        self.assertEqual(20, len(ids))

    def test_raised(self):
        """The log has where it happened."""

        def fail() -> None:
            raise KeyError("here")

        try:
            fail()
        except KeyError as error:
            _, (event,) = self.answer(error)
            self.assertIn("in fail", event["log_failure"].getTraceback())

    def test_bases(self):
        """Errors that were never meant to be raised are faults of ours."""
        for kind in (errors.FiledropError, errors.ProtocolError):
            self.assertEqual(500, self.answer(kind())[0].code)
