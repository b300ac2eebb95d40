"""``filedrop`` without a terminal: in pipes, in scripts, by cron."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.daemon import Daemon, eventually
from tests.filedrop import Home, command


@cache
def daemon() -> Daemon:
    """Return the daemon of all tests here, which ends with this process."""
    folder = Path(tempfile.mkdtemp(prefix="filedrop-test-"))
    started = Daemon(folder, "--max-file-size=32MiB", "--durability=none")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(started.kill)
    return started.start()


class CommandTestCase(SynchronousTestCase):
    """A home, and files in it."""

    def setUp(self):
        self.home = Home(Path(self.mktemp()).absolute(), daemon().url())
        self.folder = self.home.folder
        (self.folder / "a.txt").write_bytes(b"bytes\n")

    def done(self, *words: str, given: bytes = b"", **environment: str) -> str:
        """Run a command that has nothing to complain about; returns what it prints."""
        ended = self.home.run(*words, given=given, **environment)
        self.assertEqual((0, ""), (ended.status, ended.err), words)
        return ended.out

    def refused(self, status: int, *words: str, **environment: str) -> str:
        """Run a command that is refused with this status; returns what it says, in one line."""
        ended = self.home.run(*words, given=b"", **environment)
        self.assertEqual((status, ""), (ended.status, ended.out), ended.err)
        self.assertTrue(ended.err.startswith("filedrop: ") and ended.err.count("\n") == 1, ended.err)
        return ended.err

    def put(self, *words: str, **environment: str) -> str:
        """Leave ``a.txt``; returns its link."""
        return self.done("put", "a.txt", *words, given=b"", **environment).strip()


class PutTests(CommandTestCase):
    """``filedrop put``."""

    def test_link(self):
        """The link is all that goes to the standard output."""
        self.assertRegex(self.put(), r"\Ahttp://127\.0\.0\.1:\d+/api/v1\.0/file/[0-9a-f]{32}\Z")

    def test_several(self):
        """One link a file; what cannot be left does not keep the others, and makes the status."""
        (self.folder / "b").write_bytes(b"")
        ended = self.home.run("put", "a.txt", "nothing", "b")
        self.assertEqual((1, 2), (ended.status, ended.out.count("\n")))
        self.assertIn("nothing cannot be read: No such file", ended.err)

    def test_json(self):
        """As JSON, one object a line."""
        (told,) = [json.loads(line) for line in self.done("put", "--json", "--downloads", "3", "a.txt").splitlines()]
        self.assertEqual(("a.txt", 6, 3), (told["name"], told["size"], told["downloads"]))
        self.assertEqual({"url", "name", "size", "downloads", "expires_at", "owner_token"}, set(told))

    def test_input(self):
        """From a pipe, under a name."""
        link = self.done("put", "-", "--name", "etc.tar", given=b"tar").strip()
        self.assertEqual("etc.tar\n", self.done("get", link))
        self.assertEqual(b"tar", (self.folder / "etc.tar").read_bytes())

    def test_endless_device(self):
        """A device has no size; it is read as a pipe is, until the server has enough."""
        ended = self.home.redirected("</dev/zero", "put", "-")
        self.assertEqual((9, ""), (ended.status, ended.out))
        self.assertIn("33554432 bytes at most", ended.err)

    def test_zip(self):
        """Several files and folders are one zip, called as they are or otherwise."""
        (self.folder / "photos").mkdir()
        (self.folder / "photos" / "ü.jpg").write_bytes(bytes(1000))
        for words, name, names in (
            (["photos"], "photos.zip", {"photos/ü.jpg"}),
            (["photos", "a.txt"], "files.zip", {"photos/ü.jpg", "a.txt"}),
            (["--compress", "--name", "all.zip", "photos"], "all.zip", {"photos/ü.jpg"}),
        ):
            link = self.done("put", "--zip", *words).strip()
            self.assertEqual(f"{name}\n", self.done("get", link))
            with zipfile.ZipFile(self.folder / name) as found:
                self.assertEqual(names, set(found.namelist()))

    def test_old_files_in_zip(self):
        """A file that is older than a zip can say is in it, and that is not worth a word."""
        for year, seconds in (("1970", 0), ("2200", 7258118400)):
            path = self.folder / year
            path.write_bytes(b"bytes")
            os.utime(path, (seconds, seconds))
        link = self.done("put", "--zip", "1970", "2200").strip()
        self.done("get", "-o", "old.zip", link)
        with zipfile.ZipFile(self.folder / "old.zip") as found:
            self.assertEqual({"1970", "2200"}, set(found.namelist()))

    def test_password(self):
        """From a file or the environment; never as a word of the command."""
        (self.folder / "secret").write_text("pässword\n")
        for link in (self.put("--password-file", "secret"), self.put(FILEDROP_PASSWORD="pässword")):
            self.refused(4, "get", "-o", "c", link)
            self.refused(4, "get", "-o", "c", link, FILEDROP_PASSWORD="wrong")
            self.done("get", "-o", "b", "--force", "--password-file", "secret", link)
        refused = self.home.run("put", "--password=secret", "a.txt")
        self.assertEqual((2, ""), (refused.status, refused.out))
        self.assertIn("no terminal", self.home.run("put", "--password", "a.txt").err)

    def test_not_seen(self):
        """Nobody reads a secret in the list of processes, or in what is logged and complained about."""
        putting = self.home.start("put", "a.txt", "--limit-rate", "1", FILEDROP_PASSWORD="s3cret")
        words = eventually(lambda: Path(f"/proc/{putting.pid}/cmdline").read_bytes(), "it has its words")
        putting.kill()
        _, err = putting.communicate()
        self.assertNotIn(b"s3cret", words + err)

    def test_refused(self):
        """What the server says, it says; statuses tell the kinds apart."""
        self.assertIn("expires", self.refused(9, "put", "--expires", "40000d", "a.txt"))
        (self.folder / "large").write_bytes(b"")
        os.truncate(self.folder / "large", 40 * 2**20)
        self.assertIn("33554432 bytes at most", self.refused(9, "put", "large"))
        self.assertIn("--zip", self.refused(1, "put", "."))
        self.assertIn("Nothing answers", self.refused(3, "put", "--server", "http://127.0.0.1:1", "a.txt"))
        self.assertIn("no host", self.refused(3, "put", "--server", "http://nowhere.invalid", "a.txt"))

    def test_usage(self):
        """A wrong command line is 2, and says what is right, in a line."""
        for words, said in (
            (["put"], "Missing argument"),
            (["put", "--server", "ftp://x", "a.txt"], "http://"),
            (["put", "--zip", "-"], "standard input"),
            (["put", "--name", "x", "a.txt", "a.txt"], "--name"),
            (["put", "--downloads", "0", "a.txt"], "--downloads"),
            (["put", "--limit-rate", "fast", "a.txt"], "20M"),
            (["put", "--compress", "a.txt"], "--zip"),
            (["put", ""], "empty"),
            (["get", "x"], "http://"),
            (["put", "--passwrd", "a.txt"], "No such option '--passwrd'"),
            (["put", "--name"], "See 'filedrop --help'."),
            (["get", "a", "b"], "See 'filedrop get --help'."),
            (["nothing"], "No such command 'nothing'. See 'filedrop --help'."),
        ):
            self.assertIn(said, self.refused(2, *words))
        self.assertIn("FILEDROP_SERVER", Home(self.folder / "x").run("put", "-").err)

    def test_values(self):
        """A value that no server could do anything with is a wrong command line, too, wherever it was given."""
        (self.folder / "empty").write_text("\n")
        for words, said in (
            (["put", "--expires", "2q", "a.txt"], "15m"),
            (["put", "--limit-rate", "0", "a.txt"], "20M"),
            (["put", "--limit-rate", f"{'9' * 400}G", "a.txt"], "20M"),
            (["put", "--password-file", "empty", "a.txt"], "may not be empty"),
            (["put", "--ca", "nowhere", "a.txt"], "nowhere cannot be read"),
            (["list", "--ca", "a.txt"], "no certificates"),
            (["get", "--patience", "nan", "http://127.0.0.1:1/x"], "seconds"),
            (["status", "ftp://x"], "http://"),
            (["revoke", "a.txt", "http://["], "well-formed"),
        ):
            self.assertIn(said, self.refused(2, *words))
        for verb, password in (("put", " "), ("get", "\udcff")):
            self.assertIn("assword", self.refused(2, verb, "http://x", FILEDROP_PASSWORD=password).lower())

    def test_configured(self):
        """The configuration file says what need not be said; the environment and options beat it."""
        elsewhere = Home(self.folder / "elsewhere")
        config = elsewhere.home / ".config" / "filedrop" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'server = "{daemon().url()}"\ndownloads = 2\nexpires = "90s"\n')
        told = json.loads(elsewhere.run("put", "--json", "-").out)
        self.assertEqual(2, told["downloads"])
        self.assertEqual(5, json.loads(elsewhere.run("put", "--json", "--downloads", "5", "-").out)["downloads"])
        self.assertEqual(3, elsewhere.run("put", "-", FILEDROP_SERVER="http://127.0.0.1:1").status)
        config.write_text("sever = 1")
        refused = elsewhere.run("list")
        self.assertEqual((2, ""), (refused.status, refused.out))
        self.assertIn("'sever'", refused.err)

    def test_wrong_server(self):
        """An address that takes no files is said to be wrong, and where it was named."""
        elsewhere = f"{daemon().url()}api/v1.0/file"
        said = self.refused(9, "put", "a.txt", FILEDROP_SERVER=elsewhere)
        self.assertIn(f"No files are taken at {elsewhere}", said)
        self.assertIn("FILEDROP_SERVER", said)
        self.assertIn("--server", self.refused(9, "put", "--server", f"{daemon().url()}x", "a.txt"))
        self.assertIn("FILEDROP_SERVER", self.refused(2, "put", "a.txt", FILEDROP_SERVER="drop.example"))

    def test_wrong_proxy(self):
        """So is a proxy that does not answer."""
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            said = self.refused(3, "put", "a.txt", "--server", "http://x.invalid", **{name: "http://127.0.0.1:1"})
            self.assertIn("Nothing answers at 127.0.0.1:1. ", said)
            self.assertIn(f"the proxy that {name.upper()} names", said)

    def test_unencrypted(self):
        """A password that goes over a network in the clear is warned of."""
        ended = self.home.run("put", "--server", "http://nowhere.invalid", "a.txt", FILEDROP_PASSWORD="x")
        self.assertIn("warning: the password goes to nowhere.invalid unencrypted", ended.err)

    def test_wait(self):
        """Until it is delivered; gone otherwise is another status."""
        for act, status, reason in (("get", 0, "delivered"), ("revoke", 6, "revoked")):
            waiting = self.home.start("put", "--wait", "--json", "a.txt")
            assert waiting.stdout is not None
            link = json.loads(waiting.stdout.readline())["url"]
            self.home.run(act, link, *(["-o", "b"] if act == "get" else []))
            out, err = waiting.communicate(timeout=60)
            self.assertEqual(status, waiting.returncode, err)
            self.assertEqual({"url": link, "state": "gone", "reason": reason}, json.loads(out))

    def test_endless_input(self):
        """Where the server refuses, nobody waits for the end of the input."""
        with subprocess.Popen(
            command("put", "-", "--expires", "40000d"),
            cwd=self.folder,
            env=self.home.environment(),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as putting:
            assert putting.stdin is not None and putting.stderr is not None
            putting.stdin.write(bytes(1000))
            putting.stdin.flush()
            self.assertEqual(9, putting.wait(60))
            self.assertIn(b"expires", putting.stderr.read())

    def test_qr(self):
        """A QR code goes beside the link, not into it."""
        ended = self.home.run("put", "--qr", "a.txt")
        self.assertEqual((0, 1), (ended.status, ended.out.count("\n")))
        self.assertIn("▄", ended.err)


class GetTests(CommandTestCase):
    """``filedrop get``."""

    def test_saved(self):
        """Under its own name; where it is, is printed."""
        link = self.put()
        (self.folder / "a.txt").unlink()
        self.assertEqual("a.txt\n", self.done("get", link))
        self.assertEqual(b"bytes\n", (self.folder / "a.txt").read_bytes())
        self.assertEqual(["a.txt"], [path.name for path in self.folder.iterdir() if path.name != ".home"])

    def test_output(self):
        """Under another, into a folder, to the standard output."""
        (self.folder / "inbox").mkdir()
        link = self.put("--downloads", "3")
        self.assertEqual("b\n", self.done("get", "-o", "b", link))
        self.assertEqual("inbox/a.txt\n", self.done("get", "-o", "inbox", link))
        self.assertEqual("bytes\n", self.done("get", "-o", "-", link))

    def test_link_from_input(self):
        """A link need not stand in the list of processes."""
        self.assertEqual("b\n", self.done("get", "-o", "b", "-", given=self.put().encode() + b"\n"))

    def test_json(self):
        """As JSON."""
        told = json.loads(self.done("get", "--json", "-o", "b", self.put()))
        self.assertEqual(("b", 6), (told["path"], told["size"]))

    def test_exists(self):
        """Nothing is overwritten unasked, and nothing taken for it."""
        link = self.put()
        self.assertIn("--force", self.refused(11, "get", link))
        self.assertEqual("a.txt\n", self.done("get", "--force", link))

    def test_words(self):
        """What is not to be had is said in words, each with its status."""
        link = self.put()
        self.done("get", "-o", "b", link)
        self.assertIn("downloaded as often", self.refused(6, "get", "-o", "c", link))
        taken = self.put()
        self.home.run("revoke", taken)
        self.assertIn("took it back", self.refused(6, "get", "-o", "c", taken))
        self.assertIn("no such file", self.refused(5, "get", f"{link[:-32]}{'0' * 32}"))
        self.assertIn("no file of a filedropd", self.refused(9, "get", daemon().url()))
        self.assertFalse((self.folder / "c.part").exists())

    def test_password_in_link(self):
        """A password in the link opens, and is not said again; another that is given comes first."""
        link = self.put("--downloads", "2", FILEDROP_PASSWORD="s3 crét")
        secret = f"{link}?password=s3+cr%C3%A9t"
        self.assertNotIn("s3", self.refused(4, "get", "-o", "b", f"{link}?password=s3x"))
        self.assertNotIn("s3", self.refused(4, "get", "-o", "b", secret, FILEDROP_PASSWORD="x"))
        self.assertEqual("b\n", self.done("get", "-o", "b", secret))
        self.assertEqual("c\n", self.done("get", "-o", "c", "-", given=f"{secret}\n".encode()))
        self.assertNotIn("s3", self.refused(2, "get", f"{link}?password=s3%FF"))

    def test_locked(self):
        """What somebody else is fetching is locked, or waited for."""
        (self.folder / "big").write_bytes(os.urandom(24 * 2**20))
        link = self.done("put", "big").strip()
        other = self.home.start("get", "-o", "-", "--limit-rate", "6M", link)
        assert other.stdout is not None
        os.read(other.stdout.fileno(), 1000)
        self.assertIn("--wait", self.refused(7, "get", "-o", "b", link))
        waiting = self.home.start("get", "-o", "b", "--wait", link)
        out, _ = other.communicate(timeout=60)
        self.assertEqual((0, 24 * 2**20 - 1000), (other.returncode, len(out)))
        waiting.communicate(timeout=60)
        self.assertEqual(6, waiting.returncode)  # it was delivered to the other

    def test_no_room_to_write(self):
        """What cannot be kept here is said, and can be had elsewhere."""
        link = self.put()
        self.assertIn("cannot be written", self.refused(1, "get", "-o", "nowhere/b", link))
        self.assertIn("no folder nowhere", self.refused(1, "get", "-o", "nowhere/", link))
        self.assertEqual("b\n", self.done("get", "-o", "b", link))

    def test_name_without_form(self):
        """A name that this locale cannot write is said to be so, and one that it can is fetched to."""
        link = self.put("--name", "日本.txt")
        plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        self.assertIn("with -o", self.refused(1, "get", link, **plain))
        ended = self.home.run("get", "-o", "b", link, given=b"", **plain)
        self.assertEqual((0, "b\n", ""), (ended.status, ended.out, ended.err))
        self.assertEqual(0, self.home.run("list", given=b"", **plain).status)

    def test_reader_that_leaves(self):
        """Who reads our output and has had enough is no traceback."""
        (self.folder / "big").write_bytes(bytes(8 * 2**20))
        link = self.done("put", "big").strip()
        getting = self.home.start("get", "-o", "-", link)
        assert getting.stdout is not None and getting.stderr is not None
        os.read(getting.stdout.fileno(), 1000)
        getting.stdout.close()
        self.assertEqual((1, b""), (getting.wait(60), getting.stderr.read()))
        getting.stderr.close()


class DropsTests(CommandTestCase):
    """``filedrop list``, ``status``, ``revoke``."""

    def listed(self) -> list[dict[str, Any]]:
        """Return what the list has."""
        return [json.loads(line) for line in self.done("list", "--json").splitlines()]

    def test_list(self):
        """What was left from here is listed, with where it stands, in a file that nobody else can read."""
        links = [self.put(), self.put("--name", "b.txt")]
        self.done("get", "-o", "c", links[0])
        self.assertEqual(links, [each["url"] for each in self.listed()])
        self.assertEqual(
            [("gone", "delivered"), ("available", None)], [(e["state"], e["reason"]) for e in self.listed()]
        )
        listing = self.done("list")
        self.assertIn("gone (delivered)", listing)
        for link in links:
            self.assertNotIn(link[-32:], listing)
        path = self.home.home / ".local/state/filedrop/drops.json"
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))

    def test_key(self):
        """The key in the list is the one that the server's logs have."""
        link = self.put()
        (left,) = self.listed()
        self.assertEqual(hashlib.sha256(link[-32:].encode()).hexdigest()[:8], left["key"])
        self.assertIn(left["key"], daemon().log())

    def test_away(self):
        """Where a server is away the others are listed all the same; offline nobody is asked."""
        gone = Daemon(self.folder, "--durability=none").start()
        try:
            self.done("put", "--server", gone.url(), "a.txt")
        finally:
            gone.kill()
        self.put()
        self.assertEqual(
            ["Nothing", None],
            [((each.get("problem") or "").split()[:1] and "Nothing") or None for each in self.listed()],
        )
        self.assertEqual(2, self.done("list", "--offline").count("not asked"))

    def test_another_server(self):
        """A server that knows nothing of drops, or a proxy that has lost its way, costs nobody the key to his."""
        link = self.put()
        path = self.home.home / ".local/state/filedrop/drops.json"
        path.write_text(path.read_text().replace(link[-32:], "0" * 32))
        for _ in range(2):
            self.assertEqual(["There"], [each["problem"].split()[0] for each in self.listed()])

    def test_status(self):
        """What happened to it, by its name, its key or its link."""
        link = self.put()
        self.done("get", "-o", "b", link)
        for name in ("a.txt", self.listed()[0]["key"], link):
            told = self.done("status", name)
            self.assertIn("a.txt: gone (delivered), 1 of 1 delivered", told)
            self.assertIn("  claimed\n", told)
        events = json.loads(self.done("status", "--json", "a.txt"))["events"]
        self.assertEqual(["claimed", "delivered"], [each["event"] for each in events])

    def test_revoke(self):
        """What is taken back is gone, once."""
        link = self.put()
        ended = self.home.run("revoke", "a.txt")
        self.assertEqual((0, ""), (ended.status, ended.out))
        self.refused(6, "revoke", link)
        self.refused(1, "revoke", "b.txt")

    def test_revoke_several(self):
        """What cannot be taken back does not keep the others."""
        links = [self.put(), self.put()]
        ended = self.home.run("revoke", links[0], "nothing", links[1])
        self.assertEqual((1, 2), (ended.status, ended.err.count("is taken back")))
        self.assertIn("filedrop: nothing: No such drop", ended.err)

    def test_not_kept(self):
        """Where nothing can be kept the link is there all the same, with a warning."""
        (self.folder / "file").write_text("")
        ended = self.home.run("put", "a.txt", XDG_STATE_HOME=str(self.folder / "file"))
        self.assertEqual((0, 1), (ended.status, ended.out.count("\n")))
        self.assertIn("warning", ended.err)

    def test_at_once(self):
        """Several commands at once lose nothing."""
        running = [self.home.start("put", "a.txt") for _ in range(4)]
        for each in running:
            each.communicate(timeout=60)
        self.assertEqual([0] * 4, [each.returncode for each in running])
        self.assertEqual(4, len(self.listed()))

    def test_completion(self):
        """Shells complete the words, and the keys of drops."""
        for shell in ("bash", "zsh", "fish"):
            self.assertIn("_FILEDROP_COMPLETE", self.done("completion", shell))
        self.put()
        key = self.listed()[0]["key"]
        completed = self.home.run(
            _FILEDROP_COMPLETE="bash_complete", COMP_WORDS=f"filedrop status {key[:3]}", COMP_CWORD="2"
        )
        self.assertIn(key, completed.out)
