"""aiohttp, client and server: what web services and crawlers do with it, both ends on the loop under test."""

import asyncio
import contextlib
import hashlib
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web


@contextlib.asynccontextmanager
async def serving(app, **site_options):
    """Serves `app` on a free port of 127.0.0.1; yields its base URL."""
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, **site_options)
    await site.start()
    scheme = "https" if site_options.get("ssl_context") else "http"
    try:
        yield f"{scheme}://localhost:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def echo(request):
    return web.Response(body=await request.read(), headers={"x-method": request.method})


def app_with(*routes):
    app = web.Application(client_max_size=64 << 20)
    app.add_routes(routes)
    return app


def test_json_headers_and_keep_alive(run):
    ports = set()

    async def greet(request):
        ports.add(request.transport.get_extra_info("peername")[1])
        data = await request.json()
        return web.json_response({"hello": data["name"]}, headers={"x-agent": request.headers["user-agent"]})

    async def main():
        async with serving(app_with(web.post("/", greet))) as url, aiohttp.ClientSession() as session:
            for name in ("ada", "grace", "barbara"):
                async with session.post(url, json={"name": name}, headers={"user-agent": "test"}) as response:
                    assert response.status == 200
                    assert response.headers["x-agent"] == "test"
                    assert await response.json() == {"hello": name}

    run(main)
    assert len(ports) == 1, "three requests in a row share one kept-alive connection"


def test_many_requests_at_once(run):
    async def main():
        async with serving(app_with(web.post("/", echo))) as url, aiohttp.ClientSession() as session:

            async def one(number):
                body = str(number).encode() * (number % 50 + 1)
                async with session.post(url, data=body) as response:
                    assert await response.read() == body
                    return number

            assert await asyncio.gather(*map(one, range(500))) == list(range(500))

    run(main)


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
def test_large_bodies_stream_both_ways(run, certificates, tls):
    blocks = [bytes([number]) * 65_537 for number in range(128)]
    expected = hashlib.sha256(b"".join(blocks)).hexdigest()

    async def reflect(request):
        response = web.StreamResponse()
        await response.prepare(request)
        async for block in request.content.iter_any():
            await response.write(block)
        await response.write_eof()
        return response

    async def source():
        for block in blocks:
            yield block

    async def main():
        server_ssl = certificates.server_context() if tls else None
        client_ssl = certificates.client_context() if tls else True
        async with (
            serving(app_with(web.post("/", reflect)), ssl_context=server_ssl) as url,
            aiohttp.ClientSession() as session,
            session.post(url, data=source(), ssl=client_ssl) as response,
        ):
            digest = hashlib.sha256()
            async for block in response.content.iter_chunked(10_000):
                digest.update(block)
            assert digest.hexdigest() == expected

    run(main)


def test_file_response_uses_sendfile_and_ranges(run, tmp_path: Path):
    file = tmp_path / "data.bin"
    content = bytes(range(256)) * 8192
    file.write_bytes(content)

    async def main():
        app = web.Application()
        app.router.add_static("/files", tmp_path)
        async with serving(app) as url, aiohttp.ClientSession() as session:
            async with session.get(f"{url}/files/data.bin") as response:
                assert await response.read() == content
            async with session.get(f"{url}/files/data.bin", headers={"range": "bytes=1000-1999"}) as response:
                assert response.status == 206
                assert await response.read() == content[1000:2000]

    run(main)


def test_websocket_echo_ping_and_close(run):
    close_codes = []

    async def chat(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data.upper())
            else:
                await socket.send_bytes(message.data[::-1])
        close_codes.append(socket.close_code)
        return socket

    async def main():
        async with (
            serving(app_with(web.get("/", chat))) as url,
            aiohttp.ClientSession() as session,
            session.ws_connect(url, heartbeat=5) as socket,
        ):
            await socket.ping()
            for number in range(100):
                await socket.send_str(f"message {number}")
                assert await socket.receive_str() == f"MESSAGE {number}"
            large = bytes(range(256)) * 4096
            await socket.send_bytes(large)
            assert await socket.receive_bytes() == large[::-1]
            await socket.close(code=4000)

    run(main)
    assert close_codes == [4000]


def test_unix_socket(run, short_tmp: Path):
    path = short_tmp / "aiohttp.sock"

    async def main():
        runner = web.AppRunner(app_with(web.post("/", echo)))
        await runner.setup()
        await web.UnixSite(runner, path).start()
        try:
            async with (
                aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
                session.post("http://unix/", data=b"over a path") as response,
            ):
                assert await response.read() == b"over a path"
        finally:
            await runner.cleanup()

    run(main)


def test_client_timeout_cancels_the_handler_and_leaves_the_session_usable(run):
    outcomes = []

    async def slow(request):
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            outcomes.append("cancelled")
            raise
        return web.Response()

    async def main():
        app = app_with(web.get("/slow", slow), web.post("/", echo))
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            async with aiohttp.ClientSession() as session:
                with pytest.raises(asyncio.TimeoutError):
                    await session.get(f"{url}/slow", timeout=aiohttp.ClientTimeout(total=0.2))
                async with session.post(url, data=b"still here") as response:
                    assert await response.read() == b"still here"
                while not outcomes:
                    await asyncio.sleep(0.01)
        finally:
            await runner.cleanup()

    run(main)
    assert outcomes == ["cancelled"]


def test_errors_reach_the_client_by_name(run):
    async def hang_up(request):
        request.transport.abort()
        return web.Response()

    async def fail(request):
        raise web.HTTPGone(text="moved away")

    async def half(request):
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        request.transport.close()
        return response

    async def main():
        app = app_with(web.get("/hang-up", hang_up), web.get("/gone", fail), web.get("/half", half))
        async with serving(app) as url, aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await session.get(f"{url}/hang-up")
            with pytest.raises(aiohttp.ClientResponseError) as caught:
                await session.get(f"{url}/gone", raise_for_status=True)
            assert caught.value.status == 410
            with pytest.raises(aiohttp.ClientPayloadError):
                async with session.get(f"{url}/half") as response:
                    await response.read()
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get("http://127.0.0.1:1/")

    run(main)


def test_untrusted_certificate_is_refused(run, certificates):
    async def main():
        app = app_with(web.post("/", echo))
        async with (
            serving(app, ssl_context=certificates.server_context()) as url,
            aiohttp.ClientSession() as session,
        ):
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                if asyncio.get_running_loop().get_debug():
                    # Both loops then report the server's side of it.
                    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
                await session.post(url, data=b"secret")

    run(main)
