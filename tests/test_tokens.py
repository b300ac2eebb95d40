"""Tokens: secrets that stay secret."""

from __future__ import annotations

import hashlib

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from filedropd.tokens import TOKEN_BYTES, Token, claim_token, random_name, recipient_key, short

TEXT = "0123456789abcdef" * 2


class MintTests(SynchronousTestCase):
    """New ones."""

    def test_form(self):
        """A token is 128 bits from the source, as 32 lower-case hex digits."""
        asked: list[int] = []

        def source(length: int) -> bytes:
            asked.append(length)
            return b"\xab" * length

        self.assertEqual("ab" * 16, Token.mint(source).text)
        self.assertEqual(([16], 16), (asked, TOKEN_BYTES))

    def test_different(self):
        """Without a source of the test's own they are random, and of the form that is parsed."""
        tokens = [Token.mint() for _ in range(1000)]
        self.assertEqual(1000, len(set(tokens)))
        self.assertEqual(tokens, [Token.parse(token.text) for token in tokens])

    def test_name(self):
        """Names of things that are no secrets have the same form."""
        self.assertEqual("01" * 16, random_name(lambda length: b"\x01" * length))
        self.assertEqual(2, len({random_name(), random_name()}))


class ParseTests(SynchronousTestCase):
    """Those that come in."""

    def test_right(self):
        """What has a token's form is that token."""
        self.assertEqual(Token(TEXT), Token.parse(TEXT))

    def test_wrong(self):
        """Nothing else is."""
        for text in [
            "",
            TEXT[:-1],
            TEXT + "0",
            TEXT.upper(),
            TEXT + "\n",
            "\n" + TEXT,
            " " + TEXT[1:],
            TEXT[:-1] + "g",
            TEXT[:-1] + "\0",
            TEXT[:-1] + "１",
            TEXT[:-1] + "é",
            TEXT[:-1] + "\udcff",
            "../" + TEXT[3:],
            "%30" + TEXT[1:],
            "0x" + TEXT[2:],
        ]:
            self.assertIsNone(Token.parse(text), ascii(text))

    @given(st.text())
    def test_any(self, text):
        """Whatever text comes, it never raises, and what it takes is 32 hex digits."""
        token = Token.parse(text)
        if token is not None:
            self.assertEqual(16, len(bytes.fromhex(token.text)))


class SecrecyTests(SynchronousTestCase):
    """What leaves of them."""

    def test_key(self):
        """What is stored is the SHA-256 of its digits."""
        self.assertEqual(hashlib.sha256(TEXT.encode()).digest(), Token(TEXT).key)

    def test_matches(self):
        """A token is the one whose key is stored, and no other."""
        self.assertTrue(Token(TEXT).matches(Token(TEXT).key))
        for key in (Token("0" * 32).key, b"", TEXT.encode(), Token(TEXT).key[:-1]):
            self.assertFalse(Token(TEXT).matches(key))

    def test_shown(self):
        """No way of writing it shows it; its short name is that of its key."""
        token = Token(TEXT)
        for shown in (repr(token), str(token), f"{token}", "%s" % token, repr([token]), repr({token: 1})):  # noqa: UP031 - the old way too
            self.assertNotIn(TEXT, shown)
            self.assertIn(short(token.key), shown)

    def test_short(self):
        """A short name is 8 digits of the key, which say nothing of the token."""
        self.assertEqual(Token(TEXT).key.hex()[:8], short(Token(TEXT).key))

    def test_frozen(self):
        """It cannot be changed, and may be a key of a dictionary."""
        with self.assertRaises(attrs.exceptions.FrozenInstanceError):
            Token(TEXT).text = "0" * 32  # type: ignore[misc]  # that is the test
        self.assertEqual({Token(TEXT): 1}, {Token(TEXT): 1})

    def test_same(self):
        """A token is itself, and no other."""
        self.assertTrue(Token(TEXT).same(Token(TEXT)))
        self.assertFalse(Token(TEXT).same(Token("0" * 32)))


class DerivedTests(SynchronousTestCase):
    """What is made of a link's token and something else."""

    def test_claim(self):
        """A claim's token has a token's form, and is another for each link and each claim."""
        links, claims = (Token(TEXT), Token("0" * 32)), ("1" * 32, "2" * 32)
        tokens = [claim_token(link, claim) for link in links for claim in claims]
        self.assertEqual(tokens, [Token.parse(token.text) for token in tokens])
        self.assertEqual(4, len(set(tokens)))
        self.assertEqual(tokens[0], claim_token(links[0], claims[0]))

    def test_recipient(self):
        """What is stored of a recipient is another for each link, and says nothing without it."""
        source = "192.0.2.1\ncurl/8"
        keys = {
            recipient_key(link, each) for link in (Token(TEXT), Token("0" * 32)) for each in (source, "192.0.2.2\n")
        }
        self.assertEqual((4, {32}), (len(keys), {len(key) for key in keys}))
        self.assertNotIn(hashlib.sha256(source.encode()).digest(), keys)

    def test_apart(self):
        """The two have nothing to do with each other, nor with what is stored of the link."""
        self.assertFalse(recipient_key(Token(TEXT), "x").hex().startswith(claim_token(Token(TEXT), "x").text))
        self.assertNotEqual(Token(TEXT).key.hex()[:32], claim_token(Token(TEXT), "").text)

    @given(st.text())
    def test_any(self, source):
        """Whatever a program calls itself, it never raises."""
        self.assertEqual(32, len(recipient_key(Token(TEXT), source + "\udcff")))
