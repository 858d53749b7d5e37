"""What the demo's program does while its site is up, one function a step. Each checks its own result.

Nothing here knows which loop it runs on: it's asyncio, aiohttp, subprocesses and ssl as anybody writes them.
"""

from __future__ import annotations

import asyncio
import collections
import hashlib
import re
import socket
import ssl
from asyncio.subprocess import PIPE
from collections.abc import Callable, Coroutine

import aiohttp
import scraper

WORKERS = 50
WORD = re.compile(rb"[a-z]{4,}")


async def scrape(
    base: str,
    context: ssl.SSLContext | None,
    pages: dict[str, bytes],
    rounds: int,
    progress: Callable[[int, int], None],
) -> str:
    """Scrapes every page `rounds` times, WORKERS at once, and compares the bytes with the files'."""
    connector = aiohttp.TCPConnector(ssl=context or True, limit=WORKERS)
    async with aiohttp.ClientSession(connector=connector) as session:
        async with session.get(f"{base}/sitemap") as response:
            paths = await response.json()
        total = len(paths) * rounds
        found = await scraper.crawl(
            session, base, paths * rounds, WORKERS, lambda done: progress(done, total)
        )
    expected = {path: hashlib.sha256(body).hexdigest() for path, body in pages.items()}
    if found.digests != expected:
        raise ValueError("the scraped pages are not the files' bytes")
    size = f"{found.requests:,} pages, {found.bytes / 1e6:,.0f} MB"
    return f"{size}, {len(found.titles)} titles, {found.links:,} links"


async def word_count(pages: dict[str, bytes]) -> str:
    """Pipes the pages' words through `sort | uniq -c` and compares the counts with Python's."""
    words = [word for body in list(pages.values())[:20] for word in WORD.findall(body.lower())]
    process = await asyncio.create_subprocess_shell("LC_ALL=C sort | uniq -c", stdin=PIPE, stdout=PIPE)
    output, _ = await process.communicate(b"\n".join(words) + b"\n")
    counts = {word: int(count) for count, word in (line.split() for line in output.splitlines())}
    if process.returncode != 0 or counts != collections.Counter(words):
        raise ValueError("sort | uniq -c and Python disagree")
    return f"{len(words):,} words through sort | uniq -c, {len(counts):,} of them different"


async def checksums(pages: dict[str, bytes], processes: int) -> str:
    """Runs `processes` times sha256sum side by side, a page through each one's standard input."""

    async def one(body: bytes) -> bool:
        process = await asyncio.create_subprocess_exec("sha256sum", stdin=PIPE, stdout=PIPE)
        output, _ = await process.communicate(body)
        return output.split()[0].decode() == hashlib.sha256(body).hexdigest()

    if not all(await asyncio.gather(*(one(body) for body in list(pages.values())[:processes]))):
        raise ValueError("sha256sum and hashlib disagree")
    return f"{processes} sha256sum processes side by side"


async def tls_upgrade(server_context: ssl.SSLContext, client_context: ssl.SSLContext, megabytes: int) -> str:
    """A connection that starts in the clear, becomes TLS (start_tls) and echoes a stream of bytes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.readline() == b"STARTTLS\n":
            writer.write(b"go\n")
            await writer.start_tls(server_context)
            while block := await reader.read(1 << 16):
                writer.write(block)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        writer.write(b"STARTTLS\n")
        await reader.readline()
        await writer.start_tls(client_context, server_hostname="localhost")
        sent, received = hashlib.sha256(), hashlib.sha256()
        block = bytes(range(256)) * 4096

        async def send() -> None:
            for number in range(megabytes):
                sent.update(block[number:])
                writer.write(block[number:])
                await writer.drain()

        async def receive() -> None:
            left = sum(len(block) - number for number in range(megabytes))
            while left:
                part = await reader.read(1 << 16)
                if not part:
                    raise EOFError("the echo ended early")
                received.update(part)
                left -= len(part)

        await asyncio.gather(send(), receive())
        version = writer.get_extra_info("ssl_object").version()
        writer.close()
        await writer.wait_closed()
    if sent.digest() != received.digest():
        raise ValueError("the TLS echo changed the bytes")
    return f"{megabytes} MB each way over {version} after start_tls"


def failing_tasks(
    base: str, tls_base: str
) -> list[tuple[str, Callable[[], Coroutine[None, None, object]], type[BaseException]]]:
    """Things that go wrong on purpose: the task's name, what it does, and the error it must end with."""

    def get(url: str, seconds: float = 10.0) -> Callable[[], Coroutine[None, None, object]]:
        async def request() -> bytes:
            async with aiohttp.ClientSession() as session:
                return await scraper.fetch(session, url, seconds)

        return request

    async def exits_with_3() -> None:
        process = await asyncio.create_subprocess_shell("echo 'no space left' >&2; exit 3", stderr=PIPE)
        _, complaint = await process.communicate()
        if process.returncode:
            raise ChildProcessError(f"exit status {process.returncode}: {complaint.decode().strip()}")

    async def hangs() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "3600")
        try:
            async with asyncio.timeout(0.3):
                await process.wait()
        finally:
            process.kill()
            await process.wait()

    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed_port = unused.getsockname()[1]
    return [
        ("page that isn't there", get(f"{base}/pages/nowhere.html"), aiohttp.ClientResponseError),
        ("handler with a bug", get(f"{base}/broken/crash"), aiohttp.ClientResponseError),
        ("handler that is too slow", get(f"{base}/broken/slow", 0.5), asyncio.TimeoutError),
        ("connection cut in the body", get(f"{base}/broken/cut"), aiohttp.ClientPayloadError),
        ("port where nobody listens", get(f"http://127.0.0.1:{closed_port}/"), aiohttp.ClientConnectorError),
        ("certificate nobody trusts", get(f"{tls_base}/sitemap"), aiohttp.ClientConnectorCertificateError),
        ("process with exit status 3", exits_with_3, ChildProcessError),
        ("process that hangs", hangs, TimeoutError),
    ]
