"""`segue view` and `segue export`: who may ask, what is refused, and what is said about files that can't be shown."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from segue import _core
from segue._view import http as view_http
from segue._view import server as view_server
from viewing import VIEW, Served, large_recording, serving, small_recording, viewed  # noqa: F401

ASSETS = Path(view_server.ASSETS)
EXPORT = [sys.executable, "-m", "segue", "export"]


@pytest.fixture(scope="module")
def served(small: Path) -> Iterator[Served]:
    with serving(_core.OpenedRecording(str(small))) as served:
        yield served


def talk(served: Served, sent: bytes) -> bytes:
    """What comes back on a connection, until the other side ends it."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_WR)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts)


# --- Who may ask -----------------------------------------------------------------------------------


def test_the_token_gives_a_cookie_that_opens_everything(served: Served) -> None:
    page = served.get(f"/?token={served.token}", cookie=False)
    assert page.status == 200 and b"<h1" in page.body
    cookie = page.headers["Set-Cookie"]
    assert cookie.startswith(f"segue-{served.port}=") and "HttpOnly" in cookie and "SameSite=Strict" in cookie
    assert served.get("/").status == 200
    assert served.get("/app.js").status == 200
    assert served.ask("summary").json()["program"] == "app.py"  # type: ignore[index]


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/app.js", "/api/summary", "/export/svg", "/nothing"]
)
def test_nothing_without_the_token(served: Served, path: str) -> None:
    for headers in ({}, {"Cookie": f"segue-{served.port}=wrong; segue-1={served.token}"}):
        reply = served.get(path, headers, cookie=False)
        assert reply.status == 403 and "Set-Cookie" not in reply.headers, reply
        assert served.token.encode() not in reply.body


def test_the_token_opens_only_the_page(served: Served) -> None:
    assert served.get(f"/api/summary?token={served.token}", cookie=False).status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "127.0.0.1.evil.example:{port}"]
)
def test_names_that_are_not_this_machine_are_refused(served: Served, host: str) -> None:
    reply = served.get("/api/summary", {"Host": host.format(port=served.port)})
    assert reply.status == 421


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"])
def test_names_of_this_machine_are_taken(served: Served, host: str) -> None:
    assert served.get("/api/summary", {"Host": host.format(port=served.port)}).status == 200


def test_a_request_needs_one_host(served: Served) -> None:
    assert talk(served, b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 421")
    two = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nHost: evil\r\n\r\n"
    assert talk(served, two.encode()).startswith(b"HTTP/1.1 400")


def test_other_sites_pages_may_not_ask(served: Served) -> None:
    assert served.get("/api/summary", {"Sec-Fetch-Site": "cross-site"}).status == 403


def test_a_browser_gets_an_address_that_is_good_once(small: Path, tmp_path: Path) -> None:
    log = tmp_path / "asked"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {log}.new && mv {log}.new {log}\n')
    browser.chmod(0o755)
    with viewed(small, env={**os.environ, "BROWSER": str(browser)}) as served:
        while not log.exists():
            pass
        opened = log.read_text().strip()
        assert opened.startswith(f"http://127.0.0.1:{served.port}/?token=") and opened != served.url
        path = opened.partition(str(served.port))[2]
        assert [served.get(path, cookie=False).status for _ in range(2)] == [200, 403]


# --- What is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/../server.py",
        "/..%2fserver.py",
        "/%2e%2e/server.py",
        "/assets/app.js",
        "/./app.js",
        "//app.js",
        "/app.js/",
        "/app.js%00",
        "/../../../../../../etc/passwd",
        "//etc/passwd",
        "/index.html",
        "/api/../app.js",
        "/export/../app.js",
        "/api",
        "/api/",
        "/export/exe",
    ],
)
def test_only_what_is_named_exactly_is_there(served: Served, path: str) -> None:
    assert served.get(path).status == 404


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "get"])
def test_only_get(served: Served, method: str) -> None:
    reply = served.get("/api/summary", method=method)
    assert (reply.status, reply.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /",
        b"GET / HTTP/2.0",
        b"GET  / HTTP/1.1",
        b"hello",
        b"GET http://127.0.0.1/ HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET / HTTP/1.1\r\nno colon",
        b"GET / HTTP/1.1\r\n folded: x",
        b"GET / HTTP/1.1\r\nName : x",
        b"GET / HTTP/1.1\r\nA: b\nC: d",
        b"GET / HTTP/1.1\r\nContent-Length: 5",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked",
        b"GET /?%ff=%ff HTTP/1.1",
        b"GET /?" + b"&".join(b"a%d=1" % n for n in range(30)) + b" HTTP/1.1",
    ],
)
def test_what_is_no_request_gets_a_clear_no(served: Served, head: bytes) -> None:
    reply = talk(served, head + b"\r\n\r\n")
    assert reply.startswith(b"HTTP/1.1 400 ") and b"Connection: close" in reply


def test_a_head_has_a_limit(served: Served) -> None:
    for head in (b"GET /" + b"a" * 20_000, b"GET / HTTP/1.1\r\nX: " + b"a" * 20_000, b"a" * 100_000):
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
            connection.sendall(head + b"\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 431"


def test_a_head_that_never_ends_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_http, "HEAD_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n")
        assert connection.recv(12) == b"HTTP/1.1 408"


def test_a_connection_without_requests_is_closed(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_http, "IDLE_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        assert connection.recv(12) == b""


def test_connections_have_a_limit(small: Path) -> None:
    with serving(_core.OpenedRecording(str(small))) as served:
        served.known()
        held = [
            socket.create_connection(("127.0.0.1", served.port), timeout=30)
            for _ in range(view_server.MOST_CONNECTIONS)
        ]
        with socket.create_connection(("127.0.0.1", served.port), timeout=30) as one_more:
            assert one_more.recv(12) == b"HTTP/1.1 503"
        for connection in held:
            connection.close()


# --- Answers ---------------------------------------------------------------------------------------


def test_answers_are_the_recordings(served: Served, small: Path) -> None:
    recording = _core.OpenedRecording(str(small))
    for question, given in [
        ("summary", {}),
        ("graph", {"expand": ["g2"]}),
        ("task", {"id": "1.1"}),
        ("search", {"text": "fetch"}),
    ]:
        reply = served.ask(question, **given)
        assert reply.status == 200 and reply.json() == json.loads(recording.answer(question, json.dumps(given)))


def test_a_question_without_an_answer_says_why(served: Served) -> None:
    assert served.ask("nonsense").status == 404
    missing = served.ask("task", id="1.999999")
    assert missing.status == 404 and "1.999999" in missing.json()["error"]  # type: ignore[index]
    assert served.get("/api/summary?arguments=%7B").status == 400
    assert served.get("/api/summary?arguments=3").status == 404


class Slow:
    """Answers "slow" when it is let go, everything else at once; knows no "broken"."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.go = threading.Event()

    def answer(self, question: str, arguments: str = "{}") -> str:
        if question == "slow":
            self.asked.set()
            assert self.go.wait(30)
        if question == "broken":
            raise RuntimeError("out of order")
        return json.dumps({"question": question})

    def export(self, format: str, arguments: str = "{}") -> bytes:
        raise LookupError("a running program is not exported")


def test_the_page_stays_alive_while_a_question_takes_long() -> None:
    slow = Slow()
    with serving(slow) as served:
        served.known()
        waiting = served.connect()
        waiting.request("GET", "/api/slow", headers={"Cookie": served.cookie})
        assert slow.asked.wait(30)
        assert served.get("/app.js").status == 200
        assert served.ask("quick").json() == {"question": "quick"}
        slow.go.set()
        assert json.loads(waiting.getresponse().read()) == {"question": "slow"}
        waiting.close()


def test_what_breaks_is_said_and_breaks_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(Slow()) as served:
        reply = served.ask("broken")
        assert (reply.status, reply.json()) == (500, {"error": "RuntimeError: out of order"})
        assert served.get("/export/svg").json() == {"error": "a running program is not exported"}
        assert served.ask("quick").status == 200
    assert "out of order" in capfd.readouterr().err


def test_a_connection_takes_one_request_after_the_other(served: Served) -> None:
    served.known()
    connection = served.connect()
    for path in ("/", "/app.js", "/api/summary", "/nothing", "/theme.css"):
        connection.request("GET", path, headers={"Cookie": served.cookie})
        response = connection.getresponse()
        response.read()
        assert response.getheader("Connection") == "keep-alive"
    connection.close()
    asked = f"GET /app.js HTTP/1.0\r\nHost: 127.0.0.1:{served.port}\r\nCookie: {served.cookie}\r\n\r\n"
    assert b"Connection: close" in talk(served, asked.encode())


@pytest.mark.parametrize("format", ["perfetto", "svg", "mermaid", "jsonl", "folded", "folded-busy"])
def test_exports_are_downloads(served: Served, small: Path, format: str) -> None:
    reply = served.get(f"/export/{format}")
    assert reply.status == 200 and reply.body == _core.OpenedRecording(str(small)).export(format)
    assert re.fullmatch(r'attachment; filename="rec_or_ding\.[\w.]+"', reply.headers["Content-Disposition"])


# --- The page's files ------------------------------------------------------------------------------


def test_the_page_may_run_nothing_but_its_own_files(served: Served) -> None:
    for path in ("/", "/api/summary", "/nothing"):
        headers = served.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src 'self'" in policy and "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"
    page = (ASSETS / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*\bsrc=)|\sstyle=|\son\w+=|javascript:", page)


def test_the_page_asks_nobody_else() -> None:
    for file in ASSETS.iterdir():
        found = re.findall(r"(?:https?:)?//[\w-]+\.[\w.-]+", re.sub(r"(?m)^\s*//.*$", "", file.read_text()))
        assert set(found) <= {"http://www.w3.org"}, (file.name, found)


def test_every_file_that_the_page_names_is_served(served: Served) -> None:
    named = set(re.findall(r'(?:src|href)="([\w.-]+)"', (ASSETS / "index.html").read_text()))
    for script in ASSETS.glob("*.js"):
        named |= set(re.findall(r'from "\./([\w.-]+)"', script.read_text()))
    assert {"app.js", "theme.css", "graph.js", "mark.svg"} <= named
    for name in named:
        reply = served.get(f"/{name}")
        assert reply.status == 200 and reply.headers["Content-Type"].split(";")[0] in (
            "text/javascript",
            "text/css",
            "image/svg+xml",
        )


def test_the_installed_package_has_all_of_them() -> None:
    source = Path(__file__).resolve().parents[2] / "python/segue/_view/assets"
    assert {file.name for file in ASSETS.iterdir()} == {file.name for file in source.iterdir()}


# --- The commands ----------------------------------------------------------------------------------


def refused(*argv: str) -> str:
    """What a command says that ends with an error."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2) and done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize("command", [VIEW, [*EXPORT, "--format", "svg"]], ids=["view", "export"])
def test_files_that_cannot_be_shown(command: list[str], tmp_path: Path, small: Path) -> None:
    assert "there is no such file" in refused(*command, str(tmp_path / "none.segue"))
    assert "is a directory" in refused(*command, str(tmp_path))
    (tmp_path / "empty.segue").touch()
    assert "is empty" in refused(*command, str(tmp_path / "empty.segue"))
    (tmp_path / "text.segue").write_text("hello, this is no recording at all")
    assert "not a recording" in refused(*command, str(tmp_path / "text.segue"))
    (tmp_path / "cut.segue").write_bytes(small.read_bytes()[:10])
    assert "cut off" in refused(*command, str(tmp_path / "cut.segue"))


def test_what_is_damaged_is_shown_as_far_as_it_goes(tmp_path: Path, large: Path) -> None:
    content = bytearray(large.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (tmp_path / "damaged.segue").write_bytes(content)
    with viewed(tmp_path / "damaged.segue") as served:
        assert "damaged:" in served.printed
        summary = served.ask("summary").json()
        assert summary["damage"] and summary["tasks"] > 50_000  # type: ignore[index]
    (tmp_path / "cut.segue").write_bytes(large.read_bytes()[: len(content) // 2])
    with viewed(tmp_path / "cut.segue") as served:
        summary = served.ask("summary").json()
        assert summary["damage"] == [] and not summary["complete"]  # type: ignore[index]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.com"])
def test_only_loopback(small: Path, host: str) -> None:
    assert "not an address of this machine alone" in refused(*VIEW, str(small), "--host", host)


def test_ports(small: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "Address already in use" in refused(
            *VIEW, str(small), "--no-browser", "--port", str(taken.getsockname()[1])
        )
    assert "invalid port" in refused(*VIEW, str(small), "--port", "99999")
    with viewed(small, "--host", "127.0.0.2") as served:
        connection = http.client.HTTPConnection("127.0.0.2", served.port, timeout=30)
        connection.request("GET", f"/?token={served.token}")
        assert connection.getresponse().status == 200
        connection.close()


def test_looking_at_a_recording_does_not_record_over_it(small: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.segue"
    mine.write_bytes(small.read_bytes())
    with viewed(mine, env={**os.environ, "SEGUE_RECORD": str(mine)}) as served:
        assert served.ask("summary").status == 200
    assert mine.read_bytes() == small.read_bytes()


def test_export(small: Path, tmp_path: Path) -> None:
    recording = _core.OpenedRecording(str(small))
    for format in ("perfetto", "mermaid", "svg", "jsonl", "folded", "folded-busy"):
        done = subprocess.run([*EXPORT, str(small), "--format", format], capture_output=True, timeout=60)
        assert (done.returncode, done.stdout, done.stderr) == (0, recording.export(format), b"")
    out = tmp_path / "out.svg"
    subprocess.run([*EXPORT, str(small), "--format", "svg", "-o", str(out)], check=True, timeout=60)
    assert out.read_bytes() == recording.export("svg")
    assert "invalid choice" in refused(*EXPORT, str(small), "--format", "gif")
    assert "No such file" in refused(*EXPORT, str(small), "--format", "svg", "-o", str(tmp_path / "no" / "where"))


def test_export_into_a_pipe_that_closes(large: Path) -> None:
    command = " ".join([*EXPORT, str(large), "--format", "jsonl"])
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | head -c 10"], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr, len(done.stdout)) == (0, b"", 10)
