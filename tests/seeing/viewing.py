"""`segue view` as a process, a server of it in a thread, and plain HTTP to talk to both; recordings to look at."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
import segue
from segue import _core
from segue._view.server import Answers, Server

VIEW = [sys.executable, "-m", "segue", "view"]


@pytest.fixture(scope="session", name="small")
def small_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of a crawler with some hundred tasks."""
    path = tmp_path_factory.mktemp("recordings") / "small.segue"
    _core._synthetic_recording(str(path), 300)
    return path


@pytest.fixture(scope="session", name="large")
def large_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a hundred thousand."""
    path = tmp_path_factory.mktemp("recordings") / "crawl.segue"
    _core._synthetic_recording(str(path), 100_000)
    return path


@dataclass
class Served:
    """What answers at `url`, which has the token."""

    url: str
    printed: str = ""
    process: subprocess.Popen[str] | None = None
    cookie: str = field(default="", init=False)

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 80

    @property
    def token(self) -> str:
        return urlsplit(self.url).query.removeprefix("token=")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def get(
        self, path: str, headers: dict[str, str] | None = None, *, cookie: bool = True, method: str = "GET"
    ) -> Reply:
        connection = self.connect()
        known = {"Cookie": self.known()} if cookie else {}
        connection.request(method, path, headers=known | (headers or {}))
        response = connection.getresponse()
        reply = Reply(response.status, dict(response.getheaders()), response.read())
        connection.close()
        return reply

    def known(self) -> str:
        """The cookie that the page sets."""
        if not self.cookie:
            page = self.get(f"/?token={self.token}", cookie=False)
            self.cookie = page.headers["Set-Cookie"].partition(";")[0]
        return self.cookie

    def ask(self, question: str, **given: object) -> Reply:
        return self.get(f"/api/{question}?arguments={quote(json.dumps(given))}")


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        return json.loads(self.body)


@contextlib.contextmanager
def viewed(file: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Served]:
    """`segue view FILE`, ended as with Ctrl-C, which it has to take quietly."""
    options = options if env and "BROWSER" in env else (*options, "--no-browser")
    process = subprocess.Popen(
        [*VIEW, str(file), *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )
    try:
        printed = ""
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            printed += line
            if found := re.search(r"http://\S+", line):
                break
        else:
            raise AssertionError(f"it printed no address: {printed}{process.stderr.read()}")
        yield Served(found.group(), printed, process)
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (0, ""), (rest, errors)
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def serving(answers: Answers) -> Iterator[Served]:
    """A server in a thread of this process."""
    ready = threading.Event()
    found: list[object] = []

    async def main() -> None:
        server = Server(answers, 'rec/or"ding')
        await server.start("127.0.0.1", 0)
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        found.extend([server.url(), functools.partial(loop.call_soon_threadsafe, stop.set)])
        ready.set()
        serve = asyncio.create_task(server.serve())
        await stop.wait()
        serve.cancel()

    thread = threading.Thread(target=segue.run, args=(main(),))
    thread.start()
    assert ready.wait(30)
    url, stop = found
    try:
        yield Served(str(url))
    finally:
        stop()  # type: ignore[operator]
        thread.join(30)
        assert not thread.is_alive()
