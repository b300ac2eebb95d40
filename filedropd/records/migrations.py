"""The schema's numbered steps: ``schema/0001_….sql``, ``schema/0002_….sql`` and so on.

Each is applied in one transaction together with the number that says so: a database is always at a
version, never between two.  A step that was released is never changed; what comes after is a new one.
"""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable

import attrs
from twisted.logger import Logger

from filedropd.interfaces import SchemaTooNew

_NAME = re.compile(r"(\d{4})_\w+\.sql", re.ASCII)

#: Where the steps are: package data.
SCHEMA: Traversable = files("filedropd.records") / "schema"

_log = Logger()


@attrs.frozen
class Migration:
    """One step of the schema.

    :ivar version: the version that a database has after it.
    :ivar script: SQL statements, without BEGIN and COMMIT.
    """

    version: int
    script: str


def load(schema: Traversable = SCHEMA) -> list[Migration]:
    """Read the steps in ``schema``, in order.

    :raises ValueError: they are not numbered from 1 without a gap.
    """
    named = [(_NAME.fullmatch(file.name), file) for file in schema.iterdir()]
    steps = [Migration(int(match[1]), file.read_text(encoding="utf-8")) for match, file in named if match]
    steps.sort(key=lambda step: step.version)
    if [step.version for step in steps] != list(range(1, len(steps) + 1)):
        raise ValueError(f"The steps in {schema} are not numbered from 0001 without a gap.")
    return steps


def missing(steps: list[Migration], version: int, database: str) -> list[Migration]:
    """Return those of ``steps`` that a database at ``version`` lacks.

    :param database: what the text of an error calls it; no secret.
    :raises SchemaTooNew: it is beyond them.
    """
    if version > len(steps):
        raise SchemaTooNew(
            f"{database} was written by a later filedropd: its schema has version {version}, and this "
            f"filedropd knows versions up to {len(steps)}. Nothing was changed. "
            "Start the filedropd that wrote it, or a later one."
        )
    return steps[version:]


def announce(steps: list[Migration], name: str) -> None:
    """Log that a database that lacks ``steps`` is brought up to date now, which may take a while; nothing where it is.

    :param name: what the log calls it.
    """
    if not steps:
        return
    before, after = steps[0].version - 1, steps[-1].version
    if before:
        _log.info(
            "bringing the database {name} up to date: from version {before} to version {after}",
            name=name,
            before=before,
            after=after,
        )
    else:
        _log.info("making the tables of the database {name}: version {after}", name=name, after=after)
