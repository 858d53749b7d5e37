"""Serves the page and answers to its questions, on loopback, to whoever has the token.

Who may ask: the address that `segue view` prints has a token; the page it gives sets a cookie that scripts can't read
and other sites' pages don't send. Another host name than loopback's is refused, so that no page of the internet reaches
this one by a name of its own (DNS rebinding). Files are those read at the start, by their exact names: no path of a
request is ever opened.

What is asked has `answer(question, arguments)` and `export(format, arguments)`: a file that was opened, or a running
program. They work in threads, so that one long question leaves the page alive.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import json
import secrets
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

from .http import MOST_HEAD, WRITE_SECONDS, Refused, Request, Response, read_request, text

MOST_CONNECTIONS = 48
ENDING_SECONDS = 2.0
"""For answers that are being worked out when the server ends."""
ASSETS = Path(__file__).parent / "assets"

_MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_EXPORTS = {
    "perfetto": ("perfetto.json", "application/json"),
    "mermaid": ("mmd", "text/plain; charset=utf-8"),
    "svg": ("svg", "image/svg+xml"),
    "jsonl": ("jsonl", "application/jsonl"),
    "folded": ("folded", "text/plain; charset=utf-8"),
    "folded-busy": ("busy.folded", "text/plain; charset=utf-8"),
}


class Over(LookupError):
    """What is shown has ended, and answers nothing any more."""


class Answers(Protocol):
    """What is shown. Both raise LookupError, saying why, for what can't be answered, ValueError for bad arguments."""

    def answer(self, question: str, arguments: str = "{}") -> str: ...
    def export(self, format: str, arguments: str = "{}") -> bytes: ...


class Server:
    """`name` is what downloads are called after."""

    def __init__(self, answers: Answers, name: str = "recording") -> None:
        self._answers = answers
        self._name = "".join(c if c.isalnum() or c in "-_." else "_" for c in name) or "recording"
        self._token = secrets.token_urlsafe(24)
        self._codes: set[str] = set()
        self._files = _read_assets()
        self._threads = ThreadPoolExecutor(2, "segue-view")
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None
        self._address = ""
        self._cookie = ""
        self._hosts: frozenset[str] = frozenset()

    async def start(self, host: str, port: int) -> None:
        """Listens on a loopback address, on any free port if `port` is 0. Raises OSError if it can't."""
        self._server = await asyncio.start_server(self._connected, host, port, limit=MOST_HEAD)
        port = self._server.sockets[0].getsockname()[1]
        named = f"[{host}]" if ":" in host else host
        self._address = f"http://{named}:{port}/"
        # Cookies know no ports: another `segue view` beside this one has its own.
        self._cookie = f"segue-{port}"
        names = {named, "127.0.0.1", "localhost", "[::1]"}
        self._hosts = frozenset({f"{name}:{port}" for name in names} | (names if port == 80 else set()))

    def url(self) -> str:
        return f"{self._address}?token={self._token}"

    def url_for_a_browser(self) -> str:
        """Good for one use: whoever lists this machine's processes sees the address that a browser was started with."""
        code = secrets.token_urlsafe(24)
        self._codes.add(code)
        return f"{self._address}?token={code}"

    async def serve(self) -> None:
        """Until it is cancelled, which ends connections that browsers keep open too."""
        assert self._server is not None
        try:
            # It has been listening since it was started. `serve_forever` would wait for the browsers at its end.
            await asyncio.get_running_loop().create_future()
        finally:
            self._server.close()
            for writer in self._connections.values():
                writer.transport.abort()
            if self._connections:
                # They notice by themselves, and asyncio's streams of CPython 3.11 complain of cancelled ones.
                await asyncio.wait(self._connections, timeout=ENDING_SECONDS)
            self._threads.shutdown(wait=False, cancel_futures=True)

    # --- Connections -----------------------------------------------------------------------------------

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = writer
        try:
            if len(self._connections) > MOST_CONNECTIONS:
                refused = text(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections")
                await _send(writer, refused, keeps_alive=False)
            else:
                await self._talk(reader, writer)
        except (ConnectionError, TimeoutError):
            pass  # the browser has gone; there is nobody to tell
        finally:
            del self._connections[task]
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        keeps_alive = True
        while keeps_alive:
            try:
                request = await read_request(reader)
                if request is None:
                    return
                response, keeps_alive = await self._respond(request), request.keeps_alive
            except Refused as refused:
                allow = {"Allow": "GET"} if refused.status == HTTPStatus.METHOD_NOT_ALLOWED else {}
                response, keeps_alive = text(refused.status, refused.why, allow), False
            await _send(writer, response, keeps_alive=keeps_alive)

    # --- Requests --------------------------------------------------------------------------------------

    async def _respond(self, request: Request) -> Response:
        if request.headers.get("host", "").lower() not in self._hosts:
            raise Refused(HTTPStatus.MISDIRECTED_REQUEST, "this is not the address that segue view listens on")
        if request.headers.get("sec-fetch-site") == "cross-site" and request.path != "/":
            raise Refused(HTTPStatus.FORBIDDEN, "another site's page may not ask")
        if not self._is_known(request):
            words = "This page opens with the whole address that segue view printed, with its token."
            return text(HTTPStatus.FORBIDDEN, words)
        if request.path in self._files:
            return self._file(request)
        _, kind, name = (request.path + "//").split("/", 3)[:3]
        if kind == "api":
            return await self._answer(name, request.query.get("arguments", "{}"))
        if kind == "export" and name in _EXPORTS:
            return await self._export(name, request.query.get("arguments", "{}"))
        return text(HTTPStatus.NOT_FOUND, "there is no such page")

    def _is_known(self, request: Request) -> bool:
        given = request.query.get("token", "") if request.path == "/" else ""
        if given in self._codes:
            self._codes.discard(given)
            return True
        return any(
            hmac.compare_digest(proof.encode("utf-8", "replace"), self._token.encode())
            for proof in (given, request.cookie(self._cookie))
        )

    def _file(self, request: Request) -> Response:
        body, media_type = self._files[request.path]
        headers = {}
        if request.path == "/":
            headers["Set-Cookie"] = f"{self._cookie}={self._token}; HttpOnly; SameSite=Strict; Path=/"
        return Response(HTTPStatus.OK, body, media_type, headers)

    async def _answer(self, question: str, arguments: str) -> Response:
        answer = functools.partial(self._answers.answer, question, arguments)
        return await self._ask(lambda: Response(HTTPStatus.OK, answer().encode(), "application/json"))

    async def _export(self, format: str, arguments: str) -> Response:
        ending, media_type = _EXPORTS[format]
        headers = {"Content-Disposition": f'attachment; filename="{self._name}.{ending}"'}
        export = functools.partial(self._answers.export, format, arguments)
        return await self._ask(lambda: Response(HTTPStatus.OK, export(), media_type, headers))

    async def _ask(self, work: Callable[[], Response]) -> Response:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        except Over as over:
            return _problem(HTTPStatus.GONE, str(over))
        except LookupError as refused:
            return _problem(HTTPStatus.NOT_FOUND, str(refused.args[0] if refused.args else refused))
        except ValueError as refused:
            return _problem(HTTPStatus.BAD_REQUEST, f"the arguments can't be read: {refused}")
        except Exception as error:
            traceback.print_exc(file=sys.stderr)
            return _problem(HTTPStatus.INTERNAL_SERVER_ERROR, f"{type(error).__name__}: {error}")


def _problem(status: HTTPStatus, why: str) -> Response:
    return Response(status, json.dumps({"error": why}).encode(), "application/json")


async def _send(writer: asyncio.StreamWriter, response: Response, *, keeps_alive: bool) -> None:
    writer.write(response.to_bytes(keeps_alive=keeps_alive))
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()


def _read_assets() -> dict[str, tuple[bytes, str]]:
    """By the path that a request has to name exactly."""
    files = {}
    for file in ASSETS.iterdir():
        media_type = _MEDIA_TYPES.get(file.suffix)
        if media_type is not None:
            files["/" if file.name == "index.html" else f"/{file.name}"] = (file.read_bytes(), media_type)
    return files
