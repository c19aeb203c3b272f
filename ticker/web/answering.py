"""Answers one question of history from what is remembered, or with what was made for it, which is remembered in turn."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from ticker import metrics
from ticker.history.formats import Piece
from ticker.web.answers import Answer, Header, Key, RestsOn, make_answer
from ticker.web.gateway import Gateway
from ticker.web.negotiation import Shape, encodings, matches, shape
from ticker.web.operations import OPERATIONS
from ticker.web.paging import note_cut
from ticker.web.params import Params
from ticker.web.rate_limit import ROWS

APART_FROM_BYTES = 1 << 18
"""Larger answers are joined, compressed and digested in a thread."""
COMPRESSED_APART_FROM_BYTES = 1 << 13
"""The same of those that are compressed, which takes ten times as long."""
FORMAT_GIVEN = b"format="


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, as far as all questions of history have it in common."""

    request: Request
    params: Params
    shape: Shape
    key: Key
    mark: int


class Answering:
    """What all questions of history have in common: how one is read, and how its answer gets out."""

    def __init__(self, gateway: Gateway) -> None:
        self._answers = gateway.answers
        self._gateway = gateway

    def asked(self, request: Request, name: str) -> Asked:
        """Read what all have in common; raises `BadRequest`."""
        operation = OPERATIONS[name]
        params = Params(request.query_params.multi_items(), operation)
        accept = ",".join(request.headers.getlist("accept"))
        wanted = params.text("format")
        found = shape(accept, wanted, operation.formats)
        accepted = encodings(",".join(request.headers.getlist("accept-encoding")))
        query = request.scope["query_string"]
        target = request.scope["raw_path"] + (b"?" + query if query else b"")
        key = Key(target, None if FORMAT_GIVEN in target else found, accepted)
        return Asked(request, params, found, key, self._answers.mark())

    async def remembered(self, asked: Asked, symbols: Sequence[str], end: int | None) -> Answer | None:
        """A remembered answer; of a range that is over, also one that somebody else is just about to have made."""
        clock = min([self._gateway.clock_of(symbol) for symbol in symbols], default=0)
        if end is None or end > clock:
            # It will not be kept: whoever waited for it would have waited for nothing.
            return self._answers.get(asked.key)
        return await self._answers.soon(asked.key)

    async def made(
        self,
        asked: Asked,
        pieces: Sequence[Piece],
        rows: int,
        more: Sequence[Header],
        rests_on: Sequence[RestsOn] | None,
    ) -> Response:
        """A new answer, which is remembered where nothing that is still open can change it."""
        note_cut(asked.params, has_more=any(name == b"link" for name, _ in more))
        make = partial(
            make_answer,
            pieces,
            asked.shape,
            asked.key.encodings,
            route=asked.request.scope["route"].path,
            rows=rows,
            more=more,
            kept=rests_on is not None,
        )
        apart_from = COMPRESSED_APART_FROM_BYTES if asked.key.encodings else APART_FROM_BYTES
        large = sum(len(piece.text) for piece in pieces) > apart_from
        answer = await asyncio.to_thread(make) if large else make()
        if rests_on is not None:
            self._answers.keep(asked.key, answer, rests_on, asked.mark)
        return self.send(asked, answer, "made")

    def send(self, asked: Asked, answer: Answer, source: str) -> Response:
        """As it is, or word that the client has it already."""
        metrics.HISTORY_ANSWERS.labels(source).inc()
        none_match = ", ".join(asked.request.headers.getlist("if-none-match")).encode("latin-1")
        if none_match and matches(none_match, answer.etag):
            response = Response(status_code=304)
            response.raw_headers = list(answer.validators)
            return response
        asked.request.scope[ROWS] = answer.rows
        response = Response()
        response.body, response.raw_headers = answer.body, list(answer.headers)
        return response
