"""A real HTTP and TLS peer that isn't Python: nginx serves aiohttp and httpx, and proxies to aiohttp."""

import asyncio
import hashlib

import aiohttp
import httpx
import pytest
from aiohttp import web

SIZES = {"empty.txt": 0, "small.txt": 13, "page.html": 20_000, "large.bin": 8 << 20}


@pytest.fixture
def files(nginx_server):
    """The bytes of each file that nginx serves."""
    contents = {}
    for name, size in SIZES.items():
        pattern = hashlib.sha256(name.encode()).digest()
        contents[name] = (pattern * (size // len(pattern) + 1))[:size]
        (nginx_server.root / name).write_bytes(contents[name])
    return contents


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
def test_aiohttp_fetches_every_file(run, nginx_server, files, certificates, tls):
    address = nginx_server.tls if tls else nginx_server.http
    url = f"{'https' if tls else 'http'}://localhost:{address.port}"

    async def main():
        context = certificates.client_context() if tls else True
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:

            async def fetch(name):
                async with session.get(f"{url}/{name}") as response:
                    assert response.status == 200
                    return name, await response.read()

            for name, body in await asyncio.gather(*(fetch(name) for name in list(files) * 10)):
                assert body == files[name], name
            async with session.get(f"{url}/nowhere") as response:
                assert response.status == 404

    run(main)


def test_aiohttp_reads_a_large_file_slowly(run, nginx_server, files):
    async def main():
        url = f"http://localhost:{nginx_server.http.port}/large.bin"
        digest = hashlib.sha256()
        async with aiohttp.ClientSession(read_bufsize=4096) as session, session.get(url) as response:
            async for block in response.content.iter_chunked(100_000):
                digest.update(block)
                await asyncio.sleep(0.001)
        assert digest.digest() == hashlib.sha256(files["large.bin"]).digest()

    run(main)


def test_aiohttp_refuses_an_unknown_authority(run, nginx_server, files):
    async def main():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get(f"https://localhost:{nginx_server.tls.port}/small.txt")

    run(main)


def test_httpx_speaks_http2_with_nginx(run, nginx_server, files, certificates):
    async def main():
        url = f"https://localhost:{nginx_server.tls.port}"
        async with httpx.AsyncClient(http2=True, verify=certificates.client_context()) as client:
            responses = await asyncio.gather(*(client.get(f"{url}/{name}") for name in list(files) * 5))
            for response in responses:
                assert response.http_version == "HTTP/2"
                assert response.content == files[response.url.path[1:]]

    run(main)


def test_aiohttp_serves_behind_nginx(run, nginx_server):
    """nginx is the client here: it keeps connections, forwards uploads as they come, upgrades WebSockets."""

    async def reflect(request):
        return web.Response(body=await request.read())

    async def chat(request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data[::-1])
        return socket

    async def main():
        app = web.Application(client_max_size=64 << 20)
        app.add_routes([web.post("/", reflect), web.get("/chat", chat)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", nginx_server.upstream_port).start()
        url = f"http://localhost:{nginx_server.proxy.port}"
        try:
            async with aiohttp.ClientSession() as session:

                async def upload(size):
                    body = bytes(size % 251 for _ in range(16)) * (size // 16)
                    async with session.post(url, data=body) as response:
                        assert response.status == 200
                        assert await response.read() == body

                await asyncio.gather(*(upload(size) for size in [16, 4096, 1 << 20, 4 << 20] * 5))
                async with session.ws_connect(f"{url}/chat") as socket:
                    await socket.send_str("desserts")
                    assert await socket.receive_str() == "stressed"
        finally:
            await runner.cleanup()

    run(main)
