"""What options, environment and file say of the settings, each under the key that somebody wrote.

Nothing here raises for what it reads: what is wrong becomes a :class:`Fault` in the list that is given.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import attrs

from filedropd.config.settings import PREFIX, SETTINGS, Setting

# Bytes of a configuration file; what is larger is another file by mistake.
_LARGEST_FILE = 1024 * 1024

# Characters of a value that a fault shows.
_LONGEST_SHOWN = 200
# Where a URL has its password: between the name and the last @, for one who forgot to encode his has more of them; and
# under libpq's keywords, to their end or beyond. Rather too much is left out than too little.
_PASSWORDS = (
    re.compile(r"(://[^:]*:).*(@)", re.DOTALL),
    re.compile(r"(\b(?:ssl)?password\s*=)[^&]*()", re.IGNORECASE),
)


@attrs.frozen
class Fault:
    """One thing that is wrong with the configuration. As text it is one line.

    :ivar key: what was set, as it was written: ``--expires``, ``FILEDROPD_EXPIRES``, ``expires in /etc/f.toml``.
    :ivar reason: what is wrong with it and what to write, completing a sentence that begins with the key.
    :ivar shown: the value, fit to be shown; empty where there is none.
    """

    key: str
    reason: str
    shown: str = ""

    def __str__(self) -> str:
        return f"{self.key} {self.shown}: {self.reason}" if self.shown else f"{self.key}: {self.reason}"


@attrs.frozen
class Given:
    """What one source says of one setting.

    :ivar key: under which it says it, as it was written.
    :ivar items: texts, or whatever TOML has; one, or any number where the setting is repeatable.
    :ivar by_default: nobody wrote it.
    """

    key: str
    items: tuple[object, ...]
    by_default: bool = False

    @property
    def shown(self) -> str:
        """The items, fit to be shown."""
        return ", ".join(_shown(item) for item in self.items)


def from_defaults(environ: Mapping[str, str]) -> dict[str, Given]:
    """Return the defaults of all settings, the data directory that systemd made among them."""
    given = {setting.name: Given(setting.option, setting.defaults, by_default=True) for setting in SETTINGS}
    # systemd.exec(5): several directories are separated by colons.
    directories = list(filter(None, environ.get("STATE_DIRECTORY", "").split(":")))
    if directories:
        given["data-dir"] = Given("STATE_DIRECTORY", (directories[0],))
    return given


def from_options(options: Mapping[str, object], faults: list[Fault]) -> dict[str, Given]:
    """Return what ``options`` say: a name with dashes has a text, a sequence of texts, or ``None``: not set."""
    known = {setting.name: setting for setting in SETTINGS}
    given = {}
    for name, value in options.items():
        if name not in known:
            faults.append(Fault(_plain(f"--{name}"), _unknown(name, known)))
        elif known[name].flag and isinstance(value, int):  # as usage.Options counts it
            if value:
                given[name] = Given(f"--{name}", ("true",))
        elif value is not None:
            given[name] = Given(f"--{name}", _items(known[name], value))
    return given


def from_environ(environ: Mapping[str, str], faults: list[Fault]) -> dict[str, Given]:
    """Return what the variables with our prefix say. An empty one is not set; commas separate the items of lists."""
    known = {setting.variable: setting for setting in SETTINGS}
    given = {}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX) or not value:
            continue
        setting = known.get(variable)
        if setting is None:
            faults.append(Fault(_plain(variable), _unknown(variable, known)))
        else:
            items = [item.strip() for item in value.split(",")] if setting.repeatable else [value]
            given[setting.name] = Given(variable, tuple(items))
    return given


def from_file(path: Path, named: Given, faults: list[Fault]) -> dict[str, Given]:
    """Return what the TOML file at ``path`` says; ``named`` is what led to it."""
    known = {setting.key: setting for setting in SETTINGS if setting.in_file}
    given = {}
    for key, value in _read(path, named, faults).items():
        written = f"{_plain(key)} in {_plain(str(path))}"
        if key in known:
            given[known[key].name] = Given(written, _items(known[key], value))
        else:
            faults.append(Fault(written, _unknown(key, known)))
    return given


def _read(path: Path, named: Given, faults: list[Fault]) -> dict[str, Any]:
    reason = f"has more than {_LARGEST_FILE} bytes: this is not a configuration file"
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) <= _LARGEST_FILE:
            return tomllib.loads(content.decode())
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"is not TOML: byte {error.start + 1} is not UTF-8"
    except RecursionError:
        reason = "is nested too deeply: settings are flat keys"
    except ValueError as error:
        reason = f"is not TOML: {_plain(str(error))}"
    faults.append(Fault(named.key, reason, _shown(str(path))))
    return {}


def _items(setting: Setting, value: object) -> tuple[object, ...]:
    return tuple(value) if setting.repeatable and isinstance(value, (list, tuple)) else (value,)


def value_of(setting: Setting, given: Given, faults: list[Fault]) -> Any:
    """Return the value of ``setting``, or ``None`` where ``faults`` got an entry."""
    values = []
    for item in given.items:
        try:
            values.append(setting.parse(_text(setting, item)))
        except ValueError as error:
            faults.append(Fault(given.key, str(error), _shown(item)))
    if not given.items and setting.defaults:
        faults.append(Fault(given.key, "is empty: write one at least"))
    if len(values) < len(given.items) or (setting.defaults and not values):
        return None
    return tuple(values) if setting.repeatable else values[0]


def _text(setting: Setting, item: object) -> str:
    """Return an item from TOML as the text that one would have written elsewhere."""
    if isinstance(item, str):
        return item
    if setting.flag:
        if isinstance(item, bool):
            return str(item).lower()
        raise ValueError("must be true or false")
    if isinstance(item, int) and not isinstance(item, bool) and setting.number:
        # Beyond any bound, and str() refuses the longest, which TOML can write as 0xff….
        if abs(item) >= 2**64:
            raise ValueError("is out of range")
        return str(item)
    raise ValueError("must be a whole number or a text in quotes" if setting.number else "must be a text in quotes")


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, n=1)
    return f"is no setting; did you mean {near[0]}?" if near else "is no setting"


def _shown(item: object) -> str:
    """Return a value as one short line, without what a terminal would act on, and without the password of a URL."""
    if isinstance(item, str):
        for password in _PASSWORDS:
            item = password.sub(r"\1…\2", item)
        return repr(item if len(item) <= _LONGEST_SHOWN else item[:_LONGEST_SHOWN] + "…")
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, int) and abs(item) < 2**64:
        return str(item)
    return {int: "(a number)", float: "(a fraction)", list: "(an array)", dict: "(a table)"}.get(type(item), "(a date)")


def _plain(text: str) -> str:
    return text if text.isprintable() else repr(text)
