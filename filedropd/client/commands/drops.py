"""``filedrop list``, ``status`` and ``revoke``: the drops that were left from this machine."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import click
from click.shell_completion import CompletionItem
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.threads import deferToThread

from filedropd.client.commands import options
from filedropd.client.commands.drops_file import Left
from filedropd.client.commands.exits import DONE, status_of
from filedropd.client.commands.running import complain, run
from filedropd.client.commands.streams import say
from filedropd.client.errors import ClientError, NotFound
from filedropd.client.owning import revoke as take_back
from filedropd.client.owning import status as standing
from filedropd.client.values import Status
from filedropd.client.wire.connections import Reach

_HEADING: Final = f"{'KEY':8}  {'STATE':20}  {'COPIES':>7}  {'BYTES':>13}  {'EXPIRES':16}  NAME"
#: So many servers' answers are awaited at once.
_AT_ONCE: Final = 8


def _drops(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return how the names of drops that were left from here go on."""
    try:
        left = options.drops_file().all()
    except ClientError:
        return []
    return [CompletionItem(each.key, help=each.name) for each in left if each.key.startswith(incomplete.lower())]


def _named(_context: click.Context, _parameter: click.Parameter, value: str | tuple[str, ...]) -> Any:
    """Return names of drops, of which those that are links are well-formed.

    :raises Misuse: one is not.
    """
    for name in [value] if isinstance(value, str) else value:
        if "://" in name:
            options.given_link(name)
    return value


_drop_argument = click.argument("drop", metavar="DROP", callback=_named, shell_complete=_drops)


# -- list ------------------------------------------------------------------------------------------


@click.command(name="list")
@click.option("--offline", is_flag=True, help="Ask no server: only what is kept here.")
@options.json_option
@options.reaching
def list_(**given: Any) -> int:
    """List the drops that were left from this machine, the oldest first, and where they stand.

    KEY names a drop for status and revoke, and opens nothing. Those that are over their time, and that their server
    has forgotten, are forgotten here, too.

    \b
    Examples:
      filedrop list
      filedrop list --json | jq -r 'select(.state == "available").url'
    """
    return run(partial(_list, **given))


async def _list(reactor: Any, *, offline: bool, as_json: bool, reach: Reach) -> int:
    drops = options.drops_file()
    left: Sequence[Left] = await deferToThread(drops.all)
    now = datetime.now(UTC)
    if not as_json:
        say(_HEADING)
    forgotten = []
    for begin in range(0, len(left), _AT_ONCE):
        some = left[begin : begin + _AT_ONCE]
        asked: Any = DeferredList([Deferred.fromCoroutine(_asked(each, reach, reactor, offline)) for each in some])
        for each, (_, found) in zip(some, await asked, strict=True):
            # That alone may be said by another server, or by a proxy that has lost its way.
            if isinstance(found, NotFound) and each.expires_at is not None and each.expires_at < now:
                forgotten.append(each.url)
            else:
                say(json.dumps(_json(each, found)) if as_json else _line(each, found))
    await deferToThread(drops.forget, forgotten)
    return DONE


async def _asked(left: Left, reach: Reach, reactor: Any, offline: bool) -> Status | ClientError | None:
    if offline:
        return None
    try:
        return await standing(left.url, left.owner_token, reach=reach, reactor=reactor)
    except ClientError as error:
        return error


def _line(left: Left, found: Status | ClientError | None) -> str:
    copies = f"{found.delivered if isinstance(found, Status) else '?'}/{left.downloads}"
    expires = _time(left.expires_at)
    return f"{left.key:8}  {_state(found):20}  {copies:>7}  {left.size:>13}  {expires:16}  {left.name}"


def _state(found: Status | ClientError | None) -> str:
    match found:
        case Status():
            return found.state if found.reason is None else f"{found.state} ({found.reason})"
        case None:
            return "not asked"
        case _:
            return "not to be had"


def _json(left: Left, found: Status | ClientError | None) -> dict[str, object]:
    kept: dict[str, object] = {
        "key": left.key,
        "url": left.url,
        "name": left.name,
        "size": left.size,
        "left_at": left.left_at.isoformat(),
        "expires_at": None if left.expires_at is None else left.expires_at.isoformat(),
        "downloads": left.downloads,
    }
    if isinstance(found, Status):
        kept |= {"state": found.state, "reason": found.reason, "delivered": found.delivered}
    elif found is not None:
        kept |= {"problem": found.detail}
    return kept


# -- status ----------------------------------------------------------------------------------------


@click.command()
@_drop_argument
@options.json_option
@options.reaching
def status(**given: Any) -> int:
    """Tell where a drop stands, and what happened to it.

    DROP is its link, its key (as in the list), or its file's name.

    \b
    Examples:
      filedrop status 3f2a9c01
      filedrop status report.pdf
    """
    return run(partial(_status, **given))


async def _status(reactor: Any, *, drop: str, as_json: bool, reach: Reach) -> int:
    left = await deferToThread(options.drops_file().find, drop)
    found = await standing(left.url, left.owner_token, reach=reach, reactor=reactor)
    if as_json:
        events = [
            {name: value for name, value in _event_json(event).items() if value is not None} for event in found.events
        ]
        say(json.dumps(_json(left, found) | {"claims": list(found.claims), "events": events}))
        return DONE
    say(f"{left.key}  {left.name}: {_state(found)}, {found.delivered} of {found.downloads} delivered")
    for event in found.events:
        what = " ".join(filter(None, (event.what, f"by {event.by}" if event.by else "")))
        at = f" at byte {event.byte} of {found.size}" if event.byte else ""
        say(f"  {_time(event.at, seconds=True)}  {what}{at}")
    if found.state == "available":
        say(f"  {_time(found.expires_at, seconds=True)}  its time is over")
    return DONE


def _event_json(event: Any) -> dict[str, object]:
    return {
        "at": None if event.at is None else event.at.isoformat(),
        "event": event.what,
        "claim": event.claim,
        "byte": event.byte,
        "by": event.by,
    }


# -- revoke ----------------------------------------------------------------------------------------


@click.command()
@click.argument("drops", metavar="DROP...", nargs=-1, required=True, callback=_named, shell_complete=_drops)
@options.reaching
def revoke(**given: Any) -> int:
    """Take drops back: they are gone, and downloads that run are broken off.

    DROP is a link, a key (as in the list), or a file's name.

    \b
    Examples:
      filedrop revoke 3f2a9c01
      filedrop revoke report.pdf
    """
    return run(partial(_revoke, **given))


async def _revoke(reactor: Any, *, drops: Sequence[str], reach: Reach) -> int:
    """Take back all that can be; what cannot does not keep the others. The first failure makes the status."""
    status = DONE
    for name in drops:
        try:
            left = await deferToThread(options.drops_file().find, name)
            await take_back(left.url, left.owner_token, reach=reach, reactor=reactor)
            complain(f"{left.name} ({left.key}) is taken back")
        except ClientError as error:
            complain(error.detail if len(drops) == 1 or "://" in name else f"{name}: {error.detail}")
            status = status or status_of(error)
    return status


def _time(at: datetime | None, *, seconds: bool = False) -> str:
    """Return a moment as people here read it: in local time."""
    if at is None:
        return "?"
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")
