"""What need not be said each time: ``$XDG_CONFIG_HOME/filedrop/config.toml``.

    server = "https://drop.example"
    ca = "/etc/ssl/our-ca.pem"
    expires = "2d"
    downloads = 1

An option beats its environment variable, which beats the file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from filedropd.client.errors import Local

#: The keys of the file, and of which type their values are.
KEYS: Final[Mapping[str, type]] = {"server": str, "ca": str, "expires": str, "downloads": int}


def place(environment: Mapping[str, str]) -> Path:
    """Return where the file is (XDG Base Directory Specification; a relative path there counts for nothing)."""
    config = environment.get("XDG_CONFIG_HOME", "")
    folder = Path(config) if Path(config).is_absolute() else Path.home() / ".config"
    return folder / "filedrop" / "config.toml"


def load(path: Path, *, required: bool = False) -> dict[str, Any]:
    """Return what the file says.

    :param required: it must be there.
    :raises Local: it cannot be read, or says something that has no meaning; says what.
    """
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        if required:
            raise Local(f"There is no configuration file {path}.") from error
        return {}
    except OSError as error:
        raise Local(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # not UTF-8, or not TOML
        raise Local(f"{path} is no well-formed TOML: {error}.") from error
    for name, value in told.items():
        if name not in KEYS:
            raise Local(f"{path}: there is no setting {name!r}; there are {', '.join(KEYS)}.")
        if type(value) is not KEYS[name]:
            raise Local(f"{path}: {name} must be {'a number' if KEYS[name] is int else 'text'}.")
    return told
