# code: blocking-call
# cure: to_thread
"""A handler of a web server reads its template from the disk, while it serves others."""
import asyncio
from pathlib import Path

import aiohttp
from aiohttp import web


async def page(request: web.Request) -> web.Response:
    return web.Response(text=Path(__file__).read_text())  # BUG


async def main() -> None:
    app = web.Application()
    app.router.add_get("/", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            print(response.status)
    await runner.cleanup()


asyncio.run(main())
