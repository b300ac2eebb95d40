"""``filedrop get``: fetch a file."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click

from filedropd.client.commands import options
from filedropd.client.commands.exits import DONE
from filedropd.client.commands.identity import identity
from filedropd.client.commands.progress import Bar
from filedropd.client.commands.running import complain, interruptible, run
from filedropd.client.commands.streams import say
from filedropd.client.errors import Local, PasswordRequired
from filedropd.client.transfer import Target, download
from filedropd.client.values import Link, Received
from filedropd.client.wire import naming
from filedropd.client.wire.connections import Reach

#: Stands for the standard input, and for the standard output.
_INPUT: Final = "-"
_OUTPUT: Final = "-"
#: So often somebody at a terminal is asked for the password.
_TRIES: Final = 3


@attrs.frozen(kw_only=True)
class Order:
    """What is to be done."""

    link: Link
    output: str | None
    password: str | None = attrs.field(repr=False)
    reach: Reach
    force: bool
    wait: bool
    rate: float | None
    patience: float
    as_json: bool
    quiet: bool


@click.command()
@click.argument("url", metavar="URL | -")
@click.option("-o", "--output", metavar="FILE | -", help="Where to: a file, a folder, or - for the standard output.")
@click.option("--force", is_flag=True, help="Overwrite a file of that name.")
@click.option("--wait", is_flag=True, help="While somebody else downloads the last copy, wait.")
@options.passwords("The file's password")
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    callback=options.seconds,
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to go on trying after a break when nothing more comes.",
)
@options.rate_option
@options.json_option
@options.quiet_option
@options.reaching
def get(url: str, **given: Any) -> int:
    """Fetch a file, and print where it is.

    It is saved under its own name, made safe, and nothing is overwritten. While it comes in it is NAME.part; what
    breaks is gone on with, now by itself and later by the same command. Once it is whole, verified and on the disk
    it gets its name, and the server is told that it was delivered.

    URL is the link; - reads it from the standard input, so that no list of processes shows it. A password may stand
    in it, as ?password=; one that is given otherwise comes first.

    \b
    Examples:
      filedrop get https://drop.example/api/v1.0/file/5c0f...
      filedrop get -o ~/inbox https://drop.example/api/v1.0/file/5c0f...
      filedrop get -o - https://drop.example/api/v1.0/file/5c0f... | tar x
    """
    url = options.read_link() if url == _INPUT else url
    order = Order(link=options.given_link(url), **given)
    if order.password is None:
        order = attrs.evolve(order, password=options.password_in(url))
    order = attrs.evolve(order, reach=attrs.evolve(order.reach, identity=identity(options.state_folder())))
    options.warn_of_plain_text(order.link.url, order.password)
    return run(partial(_get, order))


async def _get(order: Order, reactor: Any) -> int:
    received = await _asking(order, reactor)
    words = json.dumps(_as_json(received)) if order.as_json else str(received.path)
    if received.path is not None:
        try:
            say(words)
        except Local as error:
            raise Local(f"{error.detail} The file is here all the same: {received.path}") from error
    elif order.as_json:
        click.echo(words, err=True)
    return DONE


async def _asking(order: Order, reactor: Any) -> Received:
    """Fetch it; where it takes a password and somebody is there, ask for that."""
    tries = _TRIES if order.password is None and options.can_ask() else 0
    while True:
        try:
            return await _fetch(order, reactor)
        except PasswordRequired:
            if not tries:
                raise
            if tries < _TRIES:
                complain("that is not the password")
        tries -= 1
        options.warn_of_plain_text(order.link.url, "")
        # It blocks, and there is nothing else to be done: no connection is open, and nothing is claimed.
        with interruptible():
            order = attrs.evolve(order, password=options.asked())


async def _fetch(order: Order, reactor: Any) -> Received:
    name = naming.of_link(order.link.path) if order.output in {None, _OUTPUT} else Path(order.output or "").name
    with Bar(reactor, name[:24], quiet=order.quiet) as bar:
        return await download(
            order.link.url,
            _target(order.output),
            password=order.password,
            overwrite=order.force,
            wait=order.wait,
            progress=bar.tell,
            patience=order.patience,
            rate=order.rate,
            reach=order.reach,
            reactor=reactor,
        )


def _target(output: str | None) -> Target:
    if output == _OUTPUT:
        return open(1, "wb", buffering=0, closefd=False)
    target = Path(output or ".").expanduser()
    if output and output.endswith("/") and not target.is_dir():
        raise Local(f"There is no folder {target}. Make it first.")
    return target


def _as_json(received: Received) -> dict[str, object]:
    return {
        "path": None if received.path is None else str(received.path),
        "name": received.name,
        "size": received.size,
        "verified": received.verified,
    }
