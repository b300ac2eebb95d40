"""What a settlement says of a transfer that the daemon has sent itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from filedropd.model import Outcome

if TYPE_CHECKING:
    from filedropd.interfaces import Settlement


def outcome_of(settlement: Settlement, *, whole: bool) -> Outcome:
    """Return what became of a transfer.

    :param whole: all that was asked for was sent; what settled before that is not complete.
    """
    return Outcome(
        acknowledged=settlement.acknowledged,
        sent=settlement.sent,
        begun=settlement.begun,
        complete=settlement.complete and whole,
        quiet=settlement.quiet and whole,
    )
