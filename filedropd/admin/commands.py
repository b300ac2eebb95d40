"""The command line of ``filedropd-admin``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Coroutine
from functools import partial
from importlib.metadata import version
from typing import Any, Final, TypeVar

import click

from filedropd.admin import describing
from filedropd.admin.checking import Findings, look, repair
from filedropd.admin.copying import copy
from filedropd.admin.finding import find
from filedropd.admin.revoking import revoke
from filedropd.admin.running import NOT_WELL, WELL, run
from filedropd.admin.stores import Files, Refused, drops, opened
from filedropd.claims.policy import Policy
from filedropd.config import SETTINGS, Config, ConfigError, PostgresURL, SQLiteURL, load
from filedropd.config.parse import parse_records
from filedropd.interfaces import IRecords
from filedropd.ledgers import Ledgers
from filedropd.model import DropState
from filedropd.tokens import short

C = TypeVar("C", bound=Callable[..., Any])

#: The settings that say where everything is.
_PLACES: Final = ("config", "data-dir", "records", "blobs")

#: What of them was given, by the options of the whole and of the command.
_GIVEN: Final = "filedropd.admin.given"

#: What runs on the reactor, once it is known where everything is.
Work = Callable[[Config, Any], Coroutine[Any, Any, int]]


def _note(context: click.Context, option: click.Parameter, value: str | None) -> None:
    if value is not None and option.name is not None:
        context.meta.setdefault(_GIVEN, {})[option.name.replace("_", "-")] = value


def _places(command: C) -> C:
    """Give ``command`` the daemon's options that say where everything is; they are kept in the context."""
    for setting in reversed([setting for setting in SETTINGS if setting.name in _PLACES]):
        option: Callable[[C], C] = click.option(
            setting.option, metavar=setting.metavar, help=setting.usage, expose_value=False, callback=_note
        )
        command = option(command)
    return command


def _do(context: click.Context, work: Work) -> None:
    """Run ``work`` and end with its status."""
    try:
        config = load(context.meta.get(_GIVEN, {}), os.environ)
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    context.exit(run(partial(work, config)))


def _records_url(context: click.Context, parameter: click.Parameter, value: str) -> SQLiteURL | PostgresURL:
    try:
        return parse_records(value)
    except ValueError as error:
        raise click.BadParameter(str(error), context, parameter) from error


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """Return a drop's name; ``-`` stands for a line of the standard input, which no list of processes shows."""
    return sys.stdin.readline().strip() if value == "-" else value


def _ledgers(records: IRecords, config: Config) -> Ledgers:
    return Ledgers(records, Policy(window=config.resume_window, max_attempts=config.max_attempts), time.time)


_drop_argument = click.argument("name", metavar="ID|KEY", callback=_name)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("filedropd"), prog_name="filedropd-admin")
@_places
def main() -> None:
    """Look after the records and files of filedropd.

    The options, the environment (FILEDROPD_RECORDS, ...) and the configuration file mean what they mean to the
    daemon. A SQLite database is the daemon's while that runs: stop it first. PostgreSQL is for several.

    Ends with 0: done, all is well; 1: not done, or something is wrong; 2: the command line or the configuration is.
    """


# -- migrate ---------------------------------------------------------------------------------------


@main.command()
@_places
@click.pass_context
def migrate(context: click.Context) -> None:
    """Bring the schema of the records up to date, or make it."""
    _do(context, _migrate)


async def _migrate(config: Config, reactor: Any) -> int:
    async with opened(reactor, config.records, new=True) as records:
        click.echo(f"The records in {records.name} are up to date.")
    return WELL


# -- check -----------------------------------------------------------------------------------------


@main.command()
@click.option("--repair", "repairing", is_flag=True, help="Revoke drops without files; delete files without drops.")
@click.option("--force", is_flag=True, help="Repair even where not one file belongs to the records.")
@_places
@click.pass_context
def check(context: click.Context, *, repairing: bool, force: bool) -> None:
    """Find drops whose files are missing, and files that belong to no drop."""
    if force and not repairing:
        raise click.UsageError("--force is for --repair", context)
    _do(context, partial(_check, repairing, force))


async def _check(repairing: bool, force: bool, config: Config, reactor: Any) -> int:
    files = Files(config.blobs.path)
    async with opened(reactor, config.records) as records:
        findings = await look(records, files)
        _tell(findings)
        if findings.clean:
            return WELL
        if not repairing:
            return NOT_WELL
        await repair(_ledgers(records, config), files, findings, force=force)
    click.echo(f"Repaired: {len(findings.lost)} drops revoked, {len(findings.stray)} files deleted.")
    return WELL


def _tell(findings: Findings) -> None:
    for drop in findings.lost:
        click.echo(f"drop {short(drop.key)} has no file: {drop.blob} is missing")
    for blob in findings.stray:
        click.echo(f"file {blob} belongs to no drop")
    if findings.arriving:
        click.echo(f"{findings.arriving} uploads are under way, or a daemon finishes them at its next start.")
    click.echo(
        f"{findings.matched} drops have their files, {len(findings.lost)} have none; "
        f"{len(findings.stray)} files belong to no drop."
    )


# -- list and show ---------------------------------------------------------------------------------


@main.command(name="list")
@click.option("--state", type=click.Choice([state.value for state in DropState]), help="Only drops in this state.")
@_json_option
@_places
@click.pass_context
def list_(context: click.Context, state: str | None, *, as_json: bool) -> None:
    """List drops, in the order of their keys, as they were last written down."""
    _do(context, partial(_list, None if state is None else DropState(state), as_json))


async def _list(state: DropState | None, as_json: bool, config: Config, reactor: Any) -> int:
    async with opened(reactor, config.records) as records:
        click.echo("[" if as_json else describing.HEADING, nl=not as_json)
        between = "\n"
        async for drop in drops(records):
            if state not in {None, drop.state}:
                continue
            if as_json:
                click.echo(between + json.dumps(describing.drop_json(drop)), nl=False)
                between = ",\n"
            else:
                click.echo(describing.line(drop))
        if as_json:
            click.echo("\n]")
    return WELL


@main.command()
@_drop_argument
@_json_option
@_places
@click.pass_context
def show(context: click.Context, name: str, *, as_json: bool) -> None:
    """Tell all of a drop: its claims, and what was noted of it.

    ID is the link's last 32 hex digits, KEY the 8 hex digits by which logs know it; - reads either from the
    standard input.
    """
    _do(context, partial(_show, name, as_json))


async def _show(name: str, as_json: bool, config: Config, reactor: Any) -> int:
    async with opened(reactor, config.records) as records:
        drop = await find(records, name)
        ledger = await _ledgers(records, config).read(drop.key)
        if ledger is None:
            raise Refused(f"The drop {short(drop.key)} was forgotten just now.")
        events = [*await records.events(drop.key), *ledger.events]  # what time has brought is not written down yet
    if as_json:
        click.echo(json.dumps(describing.whole_json(ledger, events), indent=2))
    else:
        click.echo("\n".join(describing.whole(ledger, events)))
    return WELL


# -- revoke ----------------------------------------------------------------------------------------


@main.command(name="revoke")
@_drop_argument
@_places
@click.pass_context
def revoke_(context: click.Context, name: str) -> None:
    """Take a drop back, as its owner can.

    ID is the link's last 32 hex digits, KEY the 8 hex digits by which logs know it; - reads either from the
    standard input.
    """
    _do(context, partial(_revoke, name))


async def _revoke(name: str, config: Config, reactor: Any) -> int:
    async with opened(reactor, config.records) as records:
        drop = await find(records, name)
        if not await revoke(_ledgers(records, config), drop.key):
            raise Refused(f"The drop {short(drop.key)} is gone already.")
    click.echo(f"The drop {short(drop.key)} is revoked. A daemon deletes its file: within a minute, or when it starts.")
    return WELL


# -- copy-records ----------------------------------------------------------------------------------


@main.command(name="copy-records")
@click.argument("source", metavar="FROM", callback=_records_url)
@click.argument("target", metavar="TO", callback=_records_url)
@_places
@click.pass_context
def copy_records(context: click.Context, source: SQLiteURL | PostgresURL, target: SQLiteURL | PostgresURL) -> None:
    """Copy all records into an empty database. No daemon may be at work on either.

    FROM and TO are as --records has them: sqlite:PATH (a relative PATH from the data directory) or
    postgresql://user@host/database. Files stay where they are.
    """
    _do(context, partial(_copy_records, source, target))


async def _copy_records(
    source: SQLiteURL | PostgresURL, target: SQLiteURL | PostgresURL, config: Config, reactor: Any
) -> int:
    async with (
        opened(reactor, source.within(config.data_dir)) as old,
        opened(reactor, target.within(config.data_dir), new=True) as new,
    ):
        copied = await copy(old, new, time.time())
        click.echo(
            f"Copied from {old.name} to {new.name}: {copied.drops} drops, {copied.claims} claims, "
            f"{copied.transfers} transfers that were cut off, {copied.events} events."
        )
    return WELL
