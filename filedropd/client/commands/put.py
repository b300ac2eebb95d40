"""``filedrop put``: leave files, and print their links."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import click
from click.core import ParameterSource
from twisted.internet.threads import deferToThread

from filedropd.client.commands import options, streams
from filedropd.client.commands.clipboard import copy
from filedropd.client.commands.drops_file import Left
from filedropd.client.commands.exits import DONE, status_of
from filedropd.client.commands.progress import Bar, Standing
from filedropd.client.commands.running import complain, run
from filedropd.client.commands.streams import say
from filedropd.client.commands.usage import Misuse
from filedropd.client.errors import ClientError, Gone, Local, NotADrop
from filedropd.client.owning import watch
from filedropd.client.transfer import upload
from filedropd.client.uploads.leaving import fitting
from filedropd.client.uploads.sources import Leavable
from filedropd.client.uploads.zipping import zipped
from filedropd.client.values import Link, Receipt
from filedropd.client.wire.connections import Reach

#: Stands for the standard input.
_INPUT: Final = "-"


@attrs.frozen(kw_only=True)
class Order:
    """What is to be done.

    :ivar files: paths, or ``-``.
    :ivar named: where ``server`` was named.
    """

    files: Sequence[str]
    server: str
    named: str
    reach: Reach
    password: str | None = attrs.field(repr=False)
    expires: str | None
    downloads: int | None
    name: str | None
    zip: bool
    compress: bool
    digest: bool | None
    rate: float | None
    as_json: bool
    qr: bool
    copy: bool
    wait: bool
    quiet: bool


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE... | -", type=click.Path(allow_dash=True))
@options.server_option
@options.passwords("Whoever gets the file must put in a password")
@click.option("--expires", callback=options.duration, metavar="TIME", help="How long it is kept: 90s, 15m, 12h, 7d.")
@click.option("--downloads", type=click.IntRange(1, 1000), metavar="N", help="How many complete copies may be fetched.")
@click.option("--name", metavar="NAME", help="What it is called, in place of its own name.")
@click.option("--zip", "zipping", is_flag=True, help="Leave all files and folders as one zip, made while it is sent.")
@click.option("--compress", is_flag=True, help="With --zip: compress. Its size is not known in advance then.")
@click.option("--qr", is_flag=True, help="Show the link as a QR code, too.")
@click.option("--copy", "copying", is_flag=True, help="Put the link into the clipboard, too.")
@click.option("--wait", is_flag=True, help="Wait until it is delivered, and say what happens.")
@click.option(
    "--digest/--no-digest",
    default=None,
    help="Compare what the server keeps with what was sent, or not [over https; else up to 64 MiB].",
)
@options.rate_option
@options.json_option
@options.quiet_option
@options.reaching
@click.pass_context
def put(context: click.Context, /, *, zipping: bool, copying: bool, **given: Any) -> int:
    """Leave files, and print one link for each.

    The link is all that goes to the standard output. What it takes to look after the file is kept on this machine,
    for status, revoke and list.

    \b
    Examples:
      filedrop put report.pdf
      filedrop put --password --expires 2d --downloads 3 report.pdf
      filedrop put --zip photos
      filedrop put --qr --wait report.pdf
      tar c etc | filedrop put - --name etc.tar
    """
    if given["server"] is None:
        raise Misuse("Say where: --server https://..., FILEDROP_SERVER, or server in the config file.", context)
    order = Order(zip=zipping, copy=copying, named=_named(context), **given)
    _check(order, context)
    options.warn_of_plain_text(order.server, order.password)
    return run(partial(_put, order))


def _check(order: Order, context: click.Context) -> None:
    try:
        Link.parse(order.server)
    except ClientError as error:
        raise Misuse(f"{order.server} ({order.named}): {error.detail}", context) from error
    try:
        fitting(order.password)
    except ClientError as error:
        raise Misuse(error.detail, context) from error
    if not all(order.files):
        raise Misuse("The name of a file is empty.", context)
    if order.zip and _INPUT in order.files:
        raise Misuse("The standard input cannot be in a zip.", context)
    if order.compress and not order.zip:
        raise Misuse("--compress is for --zip.", context)
    if order.name is not None and len(order.files) > 1 and not order.zip:
        raise Misuse("--name is for one file, or for --zip.", context)


def _named(context: click.Context) -> str:
    match context.get_parameter_source("server"):
        case ParameterSource.ENVIRONMENT:
            return "FILEDROP_SERVER"
        case ParameterSource.DEFAULT_MAP:
            return "the configuration file"
        case _:
            return "--server"


async def _put(order: Order, reactor: Any) -> int:
    """Leave all that can be left; what cannot does not keep the others. The first failure makes the status."""
    receipts, status = [], DONE
    for file in [""] if order.zip else order.files:
        try:
            receipt = await _leave(order, file, reactor)
            receipts.append(receipt)
            _tell(order, receipt)
        except ClientError as error:
            complain(_why(order, file, error))
            status = status or status_of(error)
    if order.copy and receipts:
        await deferToThread(copy, "\n".join(receipt.url for receipt in receipts))
    if order.wait:
        for receipt in receipts:
            await _delivered(order, receipt, reactor)
    return status


def _why(order: Order, file: str, error: ClientError) -> str:
    """Return what is said of a file that cannot be left."""
    named = len(order.files) == 1 or not file or file in error.detail
    words = error.detail if named else f"{file}: {error.detail}"
    return f"{words} It was named by {order.named}." if isinstance(error, NotADrop) else words


async def _leave(order: Order, file: str, reactor: Any) -> Receipt:
    source: Leavable
    if order.zip:
        source = await zipped([Path(each) for each in order.files], reactor, name=order.name, compress=order.compress)
    elif file == _INPUT:
        source = open(0, "rb", buffering=0, closefd=False)  # noqa: SIM115, ASYNC230 - it is open already
    else:
        source = Path(file)
    with Bar(reactor, order.name or (Path(file).name if file else "zip"), quiet=order.quiet) as bar:
        receipt = await upload(
            source,
            order.server,
            name=order.name,
            password=order.password,
            expires=order.expires,
            downloads=order.downloads,
            digest=order.digest,
            progress=bar.tell,
            rate=order.rate,
            reach=order.reach,
            reactor=reactor,
        )
    try:
        await deferToThread(options.drops_file().add, Left.of(receipt))
    except Local as error:  # the file is there all the same
        complain(f"warning: status and revoke will not know it. {error.detail}")
    return receipt


def _tell(order: Order, receipt: Receipt) -> None:
    """Say where it is.

    :raises Local: that cannot be printed; its words have it, or nobody could ever fetch the file.
    """
    words = json.dumps(_as_json(receipt)) if order.as_json else receipt.url
    try:
        say(words)
    except (Local, BrokenPipeError) as error:
        why = error if isinstance(error, Local) else streams.unwritable(error)
        raise Local(f"{why.detail} The file is left all the same: {words}") from error
    if order.qr:
        import segno  # noqa: PLC0415 - most often it is not needed

        segno.make(receipt.url, micro=False).terminal(out=sys.stderr, compact=True)


def _as_json(receipt: Receipt) -> dict[str, object]:
    """Return a receipt as JSON has it. With the owner's token: programs that ask for it keep it themselves."""
    return {
        "url": receipt.url,
        "name": receipt.name,
        "size": receipt.size,
        "downloads": receipt.downloads,
        "expires_at": None if receipt.expires_at is None else receipt.expires_at.isoformat(),
        "owner_token": receipt.owner_token,
    }


async def _delivered(order: Order, receipt: Receipt, reactor: Any) -> None:
    """Return when a drop is delivered.

    :raises Gone: it is gone, and was not.
    """
    standing = Standing(receipt.name, quiet=order.quiet)
    reason: str | None = None
    try:
        async with aclosing(watch(receipt.url, receipt.owner_token, reach=order.reach, reactor=reactor)) as statuses:
            async for status in statuses:
                standing.tell(status)
                reason = status.reason
                if status.state == "gone":
                    break
    finally:
        standing.end()
    if order.as_json:
        say(json.dumps({"url": receipt.url, "state": "gone", "reason": reason}))
    if reason != "delivered":
        raise Gone(reason or "")
