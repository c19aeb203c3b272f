"""Serves the built trading page or, where there is none, the small page: compressed beforehand, cached by name."""

import os
import re
from collections.abc import Iterator
from mimetypes import guess_type
from pathlib import Path

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import Scope

HERE = Path(__file__).parent
SMALL = HERE / "page"
BUILT = HERE / "static"

ENCODINGS = (("br", ".br"), ("gzip", ".gz"))
"""In order of preference; the build puts such files beside their originals."""
HASHED = re.compile(r"-[A-Za-z0-9_-]{8}\.[a-z0-9]+$")
"""A name that changes with what is in the file."""
FOREVER, ASK_FIRST = "public, max-age=31536000, immutable", "no-cache"
MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".md": "text/plain"}
"""Not left to the system, whose tables differ."""


class Files(StaticFiles):
    """A folder that need not be there yet: what is built after the start is served all the same."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self.folder = folder

    async def check_config(self) -> None:
        """A folder that is not there has no files, which is no mistake."""

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """A file in the smallest form that the client takes, or word that it has it already."""
        path, asked = Path(full_path), Headers(scope=scope)
        headers = {"Vary": "Accept-Encoding", "Cache-Control": FOREVER if HASHED.search(path.name) else ASK_FIRST}
        found = path
        for encoding, suffix in accepted(asked.get("accept-encoding", "")):
            if (smaller := path.with_name(path.name + suffix)).is_file():
                found, headers["Content-Encoding"] = smaller, encoding
                break
        media_type = MEDIA_TYPES.get(path.suffix) or guess_type(path.name)[0]
        answer = FileResponse(found, status_code, headers, media_type, stat_result=found.stat())
        return NotModifiedResponse(answer.headers) if self.is_not_modified(answer.headers, asked) else answer


def accepted(header: str) -> Iterator[tuple[str, str]]:
    """Those of `ENCODINGS` that an Accept-Encoding header names and does not refuse."""
    weights: dict[str, bool] = {}
    for part in header.lower().split(","):
        name, _, parameter = part.partition(";")
        weights[name.strip()] = not re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", parameter)
    return (row for row in ENCODINGS if weights.get(row[0]))


class Pages:
    """What `/` shows: the built page where there is one, else the small one."""

    def __init__(self, built: Path, small: Path) -> None:
        self.built, self.assets, self.small = Files(built), Files(built / "assets"), Files(small)

    async def root(self, request: Request) -> Response:
        """GET /"""
        files = self.built if (self.built.folder / "index.html").is_file() else self.small
        return await files.get_response("index.html", request.scope)

    async def docs(self, request: Request) -> Response:
        """GET /docs: REST as `/openapi.json` has it, for people."""
        return await self.small.get_response("docs.html", request.scope)

    async def licences(self, request: Request) -> Response:
        """GET /licenses.md: on which terms others let their part of the built page be used."""
        return await self.built.get_response("licenses.md", request.scope)
