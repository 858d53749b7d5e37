"""FastAPI under uvicorn: in-process on the loop under test, and as a command with uvicorn's own --loop."""

import asyncio
import contextlib
import json
import signal
import subprocess
import textwrap
import urllib.request
from pathlib import Path

import httpx
import pytest
import uvicorn
import websockets
from fastapi import BackgroundTasks, Depends, FastAPI, HTTPException, Request, WebSocket
from fastapi.responses import StreamingResponse
from pydantic import BaseModel


class Item(BaseModel):
    name: str
    price: float


def make_app(events: list[str]) -> FastAPI:
    @contextlib.asynccontextmanager
    async def lifespan(app):
        events.append("startup")
        yield
        events.append("shutdown")

    app = FastAPI(lifespan=lifespan)

    async def user(request: Request) -> str:
        return request.headers.get("x-user", "nobody")

    @app.get("/loop")
    async def loop():
        return (
            f"{type(asyncio.get_running_loop()).__module__}.{type(asyncio.get_running_loop()).__qualname__}"
        )

    @app.get("/async/{number}")
    async def in_loop(number: int, user: str = Depends(user)):
        await asyncio.sleep(0)
        return {"number": number, "user": user}

    @app.get("/sync/{number}")
    def in_thread(number: int):
        return {"number": number}

    @app.post("/items", status_code=201)
    async def create(item: Item, background: BackgroundTasks):
        background.add_task(events.append, f"created {item.name}")
        return item

    @app.get("/missing")
    async def missing():
        raise HTTPException(404, "no such thing")

    @app.get("/stream")
    async def stream():
        async def blocks():
            for number in range(200):
                yield bytes([number]) * 10_000
                await asyncio.sleep(0)

        return StreamingResponse(blocks())

    @app.websocket("/chat")
    async def chat(socket: WebSocket):
        await socket.accept()
        async for text in socket.iter_text():
            await socket.send_text(text.upper())

    return app


@contextlib.asynccontextmanager
async def serving(app, **config):
    """uvicorn's Server as a task on the running loop; yields the base URL."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", **config))
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
            if task.done():
                task.result()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"{'https' if config.get('ssl_certfile') else 'http'}://localhost:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_requests_of_every_kind(run, loop_factory, http):
    events: list[str] = []

    async def main():
        async with serving(make_app(events), http=http) as url, httpx.AsyncClient(base_url=url) as client:
            loop = type(asyncio.get_running_loop())
            assert (await client.get("/loop")).json() == f"{loop.__module__}.{loop.__qualname__}"
            for kind in ("async", "sync"):
                responses = await asyncio.gather(*(client.get(f"/{kind}/{number}") for number in range(50)))
                assert [response.json()["number"] for response in responses] == list(range(50))
            assert (await client.get("/async/1", headers={"x-user": "ada"})).json()["user"] == "ada"
            created = await client.post("/items", json={"name": "pen", "price": 1.5})
            assert (created.status_code, created.json()) == (201, {"name": "pen", "price": 1.5})
            assert (await client.post("/items", json={"name": "pen"})).status_code == 422
            assert (await client.get("/missing")).json() == {"detail": "no such thing"}
            async with client.stream("GET", "/stream") as response:
                assert b"".join([block async for block in response.aiter_bytes()]) == b"".join(
                    bytes([number]) * 10_000 for number in range(200)
                )

    run(main)
    assert events == ["startup", "created pen", "shutdown"]


def test_websocket(run):
    async def main():
        async with (
            serving(make_app([]), ws="websockets-sansio") as url,
            websockets.connect(url.replace("http", "ws") + "/chat") as socket,
        ):
            for number in range(50):
                await socket.send(f"message {number}")
                assert await socket.recv() == f"MESSAGE {number}"

    run(main)


def test_https(run, certificates):
    async def main():
        options = {"ssl_certfile": certificates.chain_file, "ssl_keyfile": certificates.key_file}
        async with (
            serving(make_app([]), **options) as url,
            httpx.AsyncClient(base_url=url, verify=certificates.client_context()) as client,
        ):
            responses = await asyncio.gather(*(client.get(f"/async/{number}") for number in range(100)))
            assert [response.json()["number"] for response in responses] == list(range(100))

    run(main)


PROGRAM = """
import asyncio
from fastapi import FastAPI

app = FastAPI()

@app.get("/loop")
async def loop():
    return type(asyncio.get_running_loop()).__mro__[0].__module__.split(".")[0]

@app.on_event("shutdown")
async def shutdown():
    print("shut down cleanly", flush=True)
"""


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT])
def test_uvicorn_command_with_its_loop_option(loop_under_test, tmp_path: Path, python, stop):
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    command = [python, "-W", "ignore", "-m", "uvicorn", "program:app", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--loop", loop_under_test.import_string],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        lines = []
        while not lines or "running on" not in lines[-1]:
            lines.append(process.stdout.readline())
            assert lines[-1], f"uvicorn ended: {''.join(lines)}"
        url = next(word for word in lines[-1].split() if word.startswith("http"))
        with urllib.request.urlopen(f"{url}/loop", timeout=10) as response:
            assert json.load(response) == loop_under_test.name
        process.send_signal(stop)
        output = process.communicate(timeout=20)[0]
    finally:
        process.kill()
        process.wait()
    assert "shut down cleanly" in output
    assert process.returncode in (0, -stop, 128 + stop), output
