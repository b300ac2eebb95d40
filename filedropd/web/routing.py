"""How a route is answered, whatever comes of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec

from twisted.internet.defer import CancelledError

from filedropd.http.request import Request

P = ParamSpec("P")


def answering(
    rule: str, act: Callable[Concatenate[Request, P], Awaitable[None]]
) -> Callable[Concatenate[Request, P], Coroutine[Any, Any, None]]:
    """Return ``act`` with its errors answered, whatever part of another answer is out already.

    No exception of ours is to reach Klein, which appends an error page to what is out.

    :param rule: the route, as logs and metrics are to call it.
    """

    async def answer(request: Request, /, *arguments: P.args, **named: P.kwargs) -> None:
        request.route = rule
        try:
            await act(request, *arguments, **named)
        except Exception as error:  # one place answers them all
            if isinstance(error, CancelledError) and request.disconnected:  # the client has left: nobody to answer
                raise
            request.refuse(error)

    return answer
