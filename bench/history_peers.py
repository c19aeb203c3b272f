"""What history is measured beside, each an application of starlette in uvicorn as they come.

usage: history_peers.py constant PORT BYTES | parsed PORT STORE_PORT | joined PORT STORE_PORT

`constant` answers every request with the same body: what no answer that is made can reach. `parsed` is the obvious design: a
sorted set of JSON by time, read and parsed by one handler, which serialises it again. `joined` is the same by somebody who has
noticed that the members are JSON already.
"""

import json
import sys
from typing import Any

import uvicorn
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def constant(size: int) -> Starlette:
    """The same body for everybody."""
    body = b"x" * size

    async def handler(request: Request) -> Response:
        return Response(body, media_type="application/json")

    return Starlette(routes=[Route("/v1/candles/{symbol}", handler)])


def sorted_set(store_port: int, *, parse: bool) -> Starlette:
    """Candles from `plain:SYMBOL`, whose scores are their times."""
    store = Redis(port=store_port)

    async def handler(request: Request) -> Response:
        symbol, query = request.path_params["symbol"], request.query_params
        start, end, limit = query.get("start", "-inf"), query["end"], int(query["limit"])
        rows: Any = await store.zrangebyscore(f"plain:{symbol}", start, f"({end}", start=0, num=limit)
        if parse:
            return JSONResponse({"symbol": symbol, "candles": [json.loads(row) for row in rows]})
        head = f'{{"symbol":"{symbol}","candles":['.encode()
        return Response(b"".join((head, b",".join(rows), b"]}")), media_type="application/json")

    return Starlette(routes=[Route("/v1/candles/{symbol}", handler)])


def main() -> None:
    """Serve one of them."""
    kind, port, number = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    app = constant(number) if kind == "constant" else sorted_set(number, parse=kind == "parsed")
    # As whoever knows uvicorn starts it: its fastest loop and parser, no access log.
    uvicorn.run(app, port=port, http="httptools", loop="uvloop", access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
