"""What became of a drop, for its owner, as JSON and as Server-Sent Events; and of a claim, for its recipient."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from filedropd import spans
from filedropd.claims.asking import Recipient
from filedropd.claims.ledger import Ledger
from filedropd.drops import Drops
from filedropd.errors import ClientGone
from filedropd.http.request import Request
from filedropd.model import Claim, ClaimState, DropState, Event
from filedropd.standing import Standing
from filedropd.tokens import Token
from filedropd.web import fields, recipients
from filedropd.web.answers import JSON, SVG, answer, as_json, hexadecimal, moment
from filedropd.web.codes import square
from filedropd.web.links import Links

EVENT_STREAM: Final = "text/event-stream"


class Statuses:
    """Answers an owner, and a recipient."""

    def __init__(self, drops: Drops, links: Links) -> None:
        self._drops = drops
        self._links = links

    async def status(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``GET {api}/file/<id>/status``: what became of a drop; with ``Accept: text/event-stream`` as it happens."""
        link = self._links.token(request, id)
        owner = fields.owner_token(request)
        if request.method == b"GET" and fields.accepts(request, EVENT_STREAM):
            await self._stream(request, link, owner)
        else:
            standing = await self._drops.status(link, owner)
            answer(request, 200, JSON, as_json(told(link, standing)))

    async def claim(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``GET {api}/file/<id>/claim``: what became of the claim whose token is shown, for its recipient's page."""
        recipient = Recipient(link=self._links.token(request, id), token=recipients.claim_token(request))
        claim, ledger = await self._drops.progress(recipient)
        answer(request, 200, JSON, as_json(of_claim(claim, ledger)))

    async def code(self, request: Request, id: str) -> None:  # noqa: A002 - the route's own word
        """``GET {api}/file/<id>/code``: the link as a QR code, for its owner: of nothing else is one made."""
        link = self._links.token(request, id)
        await self._drops.status(link, fields.owner_token(request))
        url = self._links.url(request, link)
        request.setHeader("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        answer(request, 200, SVG, square(url, url).encode("utf-8"))

    async def _stream(self, request: Request, link: Token, owner: Token | None) -> None:
        """Send the status as an event, and again whenever it changes; end when the drop is finished."""
        request.body.discard()  # nobody reads what may come with it
        standings = await self._drops.watch(link, owner)
        request.setHeader("Content-Type", EVENT_STREAM)
        request.setHeader("Cache-Control", "no-store")
        request.setHeader("X-Content-Type-Options", "nosniff")
        # A proxy that gathers answers would tell the owner everything at the end.
        request.setHeader("X-Accel-Buffering", "no")
        try:
            async with aclosing(standings):
                async for standing in standings:
                    await request.push(_event(link, standing))
        except ClientGone:
            return
        request.finish()


def _event(link: Token, standing: Standing | None) -> bytes:
    """Return an event as the HTML standard has it (section 9.2); a comment where there is nothing to say."""
    if standing is None:
        return b":\n\n"
    return b"event: status\nid: %d\ndata: %s\n" % (standing.ledger.drop.touches, as_json(told(link, standing)))


def told(link: Token, standing: Standing) -> dict[str, object]:
    """Return what an owner is told. A claim is told by its number: its id is half of its token."""
    drop = standing.ledger.drop
    gone = drop.state is not DropState.AVAILABLE
    return {
        "id": link.text,
        "name": drop.name,
        "size": drop.size,
        "sha256": hexadecimal(drop.sha256),
        "state": (DropState.GONE if gone else DropState.AVAILABLE).value,
        "reason": drop.reason.value if drop.reason is not None else None,
        "created_at": moment(drop.created_at),
        "expires_at": moment(drop.expires_at),
        "gone_at": moment(drop.gone_at),
        "downloads": drop.downloads,
        "delivered": drop.delivered,
        "claims": [_claim(claim, standing.ledger) for claim in standing.ledger.claims],
        "events": [_happened(event) for event in standing.history],
    }


def _claim(claim: Claim, ledger: Ledger) -> dict[str, object]:
    running = ledger.running(claim)
    arrived = [
        spans.of(transfer.first, transfer.first + (transfer.length if transfer.settled else transfer.acknowledged))
        for transfer in ledger.of(claim)
    ]
    handed = spans.union(claim.handed, *(transfer.handed for transfer in running))
    size = ledger.drop.size
    waits = claim.state.live and not running
    return {
        "number": claim.number,
        "state": claim.state.value,
        "opened_at": moment(claim.opened_at),
        "ended_at": moment(claim.ended_at),
        "until": moment(claim.until) if waits else None,
        "transfers": len(running),
        "handed_out": min(size, spans.size(handed)),
        "acknowledged": min(size, spans.size(spans.union(claim.confirmed, *arrived))),
    }


def of_claim(claim: Claim, ledger: Ledger) -> dict[str, object]:
    """Return what a recipient is told of his claim, and of the drop as far as it concerns him."""
    kept = claim.state is ClaimState.PRESUMED or (claim.state.live and not ledger.running(claim))
    gone = ledger.drop.state is not DropState.AVAILABLE
    own = _claim(claim, ledger)
    del own["number"]  # others are none of his business
    return own | {
        "until": moment(claim.until) if kept else None,
        "size": ledger.drop.size,
        "gone": gone,
        "reason": ledger.drop.reason.value if gone and ledger.drop.reason is not None else None,
    }


def _happened(event: Event) -> dict[str, object]:
    happened = {
        "at": moment(event.at),
        "event": event.touch.value,
        "claim": event.claim,
        "byte": event.offset,
        "by": event.who,
    }
    return {name: value for name, value in happened.items() if value is not None}
