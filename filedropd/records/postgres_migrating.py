"""The schema in PostgreSQL is brought up to date: by one daemon, while those that start with it wait.

What takes a moment with few drops may take minutes with many: nothing has a time limit here, once it has begun.
"""

from __future__ import annotations

import re
from importlib.resources.abc import Traversable
from typing import Final

from twisted.logger import Logger

from filedropd.interfaces import StoreUnusable
from filedropd.records import migrations, sql
from filedropd.records.postgres_connection import Session

#: Held while the schema is brought up to date, so that any number of daemons may start at once.
MIGRATING: Final = 0x66696C6564726F70  # "filedrop"

_log = Logger()


async def migrate(schema: Traversable, name: str, session: Session) -> None:
    """Bring the database up to date: all steps of ``schema`` that it lacks, or none.

    :param name: what logs and errors call it.
    :raises StoreUnusable: it is none of ours.
    :raises SchemaTooNew: a later version wrote it.
    """
    await session.execute("BEGIN")
    try:
        # Until the transaction ends; what the server is given for each, see :mod:`.postgres_connection`, is then as before.
        await session.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        with session.patient():
            await _alone(session, name)
            steps = await _missing(schema, name, session)
            migrations.announce(steps, name)
            for step in steps:
                await _apply(step, session)
            await session.execute("COMMIT")
    except BaseException:
        await session.roll_back()
        raise


async def _alone(session: Session, name: str) -> None:
    """Return when nobody else is at it, until the transaction ends."""
    (tried,) = await session.execute(f"SELECT pg_try_advisory_xact_lock({MIGRATING}) AS alone")
    if not tried["alone"]:
        _log.info("waiting for another filedropd, which brings the database {name} up to date", name=name)
        await session.execute(f"SELECT pg_advisory_xact_lock({MIGRATING})")


async def _missing(schema: Traversable, name: str, session: Session) -> list[migrations.Migration]:
    (found,) = await session.execute(
        "SELECT to_regclass('schema_version') IS NOT NULL AS ours, to_regclass('drops') IS NOT NULL AS others"
    )
    if found["others"] and not found["ours"]:
        raise StoreUnusable(
            f"The database {name} has a table 'drops' of another program. Nothing was changed. "
            "Name another database, or another schema, in --records."
        )
    version = (await session.execute(sql.VERSION))[0]["version"] if found["ours"] else 0
    return migrations.missing(migrations.load(schema), version, f"The database {name}")


async def _apply(step: migrations.Migration, session: Session) -> None:
    await session.execute(sql.CREATE_VERSIONS)
    # What SQLite calls BLOB.
    await session.execute(re.sub(r"\bBLOB\b", "BYTEA", step.script))
    await session.execute(sql.ADD_VERSION, {"version": step.version})
