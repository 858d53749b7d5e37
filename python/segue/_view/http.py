"""As much of HTTP/1.1 as a page on this machine needs: GET requests without a body, read with limits.

Not a web server for programs. `server.py` calls it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus
from urllib.parse import parse_qsl

MOST_HEAD = 16 * 1024
"""Bytes of a request's head."""
HEAD_SECONDS = 10.0
"""From a head's first byte to its last."""
IDLE_SECONDS = 75.0
"""Without a request, after which a connection is closed."""
WRITE_SECONDS = 30.0

_SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Refused(Exception):
    """The request gets this status, and these words, and the connection ends."""

    def __init__(self, status: HTTPStatus, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


@dataclass(frozen=True)
class Request:
    path: str
    """As it was sent: nothing in it is decoded."""
    query: dict[str, str]
    headers: dict[str, str]
    """Names in lower case; of several, values with a comma between them."""
    keeps_alive: bool

    def cookie(self, name: str) -> str:
        for part in self.headers.get("cookie", "").split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                return value
        return ""


@dataclass(frozen=True)
class Response:
    status: HTTPStatus
    body: bytes
    media_type: str
    headers: dict[str, str] = field(default_factory=dict)

    def to_bytes(self, *, keeps_alive: bool) -> bytes:
        headers = {
            "Content-Type": self.media_type,
            "Content-Length": str(len(self.body)),
            "Cache-Control": "no-store",
            "Connection": "keep-alive" if keeps_alive else "close",
            **_SECURITY,
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


def text(status: HTTPStatus, words: str, headers: dict[str, str] | None = None) -> Response:
    return Response(status, (words + "\n").encode(), "text/plain; charset=utf-8", headers or {})


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request; None if there is none any more. Raises Refused for what is no request that is taken here.

    `reader` has `MOST_HEAD` as its limit.
    """
    try:
        async with asyncio.timeout(IDLE_SECONDS):
            first = await reader.read(1)
    except TimeoutError:
        return None
    if not first:
        return None
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = first + await reader.readuntil(b"\r\n\r\n")
    except TimeoutError:
        raise Refused(HTTPStatus.REQUEST_TIMEOUT, "the request took too long") from None
    except asyncio.LimitOverrunError:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's head is too long") from None
    except asyncio.IncompleteReadError:
        return None
    return parse(head)


def parse(head: bytes) -> Request:
    """Of a head with the empty line that ends it."""
    line, *fields = head.decode("latin-1")[:-4].split("\r\n")
    words = line.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise Refused(HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1 request")
    method, target, version = words
    headers: dict[str, str] = {}
    for each in fields:
        name, colon, value = each.partition(":")
        if not colon or not name or name != name.strip() or "\n" in each or "\r" in each or "\0" in each:
            raise Refused(HTTPStatus.BAD_REQUEST, "a header is malformed")
        name, value = name.lower(), value.strip()
        if name == "host" and name in headers:
            raise Refused(HTTPStatus.BAD_REQUEST, "there are two Host headers")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    if method != "GET":
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is allowed here")
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise Refused(HTTPStatus.BAD_REQUEST, "a GET request has no body here")
    if not target.startswith("/"):
        raise Refused(HTTPStatus.BAD_REQUEST, "the request's target is no path")
    path, _, query = target.partition("?")
    try:
        arguments = dict(parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=20))
    except ValueError:
        raise Refused(HTTPStatus.BAD_REQUEST, "the query can't be read") from None
    connection = headers.get("connection", "").lower()
    keeps_alive = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)
    return Request(path, arguments, headers, keeps_alive)
