"""httpx (through anyio and httpcore) against a server that speaks HTTP by hand with asyncio's streams."""

import asyncio
import contextlib

import httpx
import pytest


@contextlib.asynccontextmanager
async def http_server(respond, ssl=None):
    """Calls `respond(path, headers, body)` for each request; it returns what to send, or None to hang up."""

    handlers = set()

    async def handle(reader, writer):
        handlers.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                answer = await respond(head[0].split()[1], headers, body)
                if answer is None:
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=ssl)
    async with server:
        yield f"{'https' if ssl else 'http'}://localhost:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*handlers)  # before CPython 3.12 the server's own wait_closed() doesn't


def ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_concurrent_requests(run, certificates, tls):
    async def respond(path, headers, body):
        return ok(path.encode() + b" " + body)

    async def main():
        server_ssl = certificates.server_context() if tls else None
        verify = certificates.client_context() if tls else True
        async with (
            http_server(respond, server_ssl) as url,
            httpx.AsyncClient(base_url=url, verify=verify) as client,
        ):
            bodies = [bytes([65 + number % 26]) * (number * 1000) for number in range(100)]
            posts = (client.post(f"/{number}", content=body) for number, body in enumerate(bodies))
            for number, response in enumerate(await asyncio.gather(*posts)):
                assert response.content == f"/{number} ".encode() + bodies[number]

    run(main)


def test_timeouts_and_disconnects_have_their_own_errors(run):
    async def main():
        released = asyncio.Event()

        async def respond(path, headers, body):
            match path:
                case "/slow":
                    await released.wait()
                case "/drop":
                    return None
            return ok(b"fine")

        async with http_server(respond) as url, httpx.AsyncClient(base_url=url, timeout=5) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get("/slow", timeout=0.2)
            with pytest.raises(httpx.RemoteProtocolError):
                await client.get("/drop")
            assert (await client.get("/")).content == b"fine"
            with pytest.raises(httpx.ConnectError):
                await client.get("http://127.0.0.1:1/")
            released.set()

    run(main)


def test_cancelled_request_gives_its_connection_back(run):
    async def main():
        released = asyncio.Event()

        async def respond(path, headers, body):
            if path == "/wait":
                await released.wait()
            return ok(b"fine")

        limits = httpx.Limits(max_connections=1)
        async with http_server(respond) as url, httpx.AsyncClient(base_url=url, limits=limits) as client:
            waiting = asyncio.create_task(client.get("/wait"))
            await asyncio.sleep(0.1)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert (await client.get("/")).content == b"fine", "the pool of one has room again"
            released.set()

    run(main)
