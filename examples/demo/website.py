"""The demo's web site: an ordinary FastAPI app that knows nothing of the loop it runs on.

It serves a folder of HTML pages, and has routes that fail in the ways in which real servers fail.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from fastapi import FastAPI, HTTPException
from fastapi.responses import HTMLResponse, StreamingResponse


def load_pages(folder: Path) -> dict[str, bytes]:
    """The pages by their path in the site. Raises FileNotFoundError when there is none."""
    pages = {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*.html"))
    }
    if not pages:
        raise FileNotFoundError(f"no .html file in {folder}")
    return pages


def make_app(pages: dict[str, bytes], on_startup: Callable[[], Awaitable[None]] | None = None) -> FastAPI:
    """The app; `on_startup` runs as a task of its own for as long as the site is up."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        background = asyncio.ensure_future(on_startup()) if on_startup else None
        yield
        if background:
            background.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.get("/loop")
    async def loop() -> str:
        """The type of the loop that runs this handler, which is uvicorn's."""
        kind = type(asyncio.get_running_loop())
        return f"{kind.__module__}.{kind.__qualname__}"

    @app.get("/sitemap")
    async def sitemap() -> list[str]:
        return list(pages)

    @app.get("/pages/{path:path}")
    async def page(path: str) -> HTMLResponse:
        if path not in pages:
            raise HTTPException(404, f"no page {path}")
        return HTMLResponse(pages[path])

    @app.get("/broken/crash")
    async def crash() -> None:
        raise ZeroDivisionError("a bug in the handler")

    @app.get("/broken/slow")
    async def slow() -> str:
        await asyncio.sleep(1)
        return "too late for the scraper, which waits half a second"

    @app.get("/broken/cut")
    async def cut() -> StreamingResponse:
        async def half() -> AsyncIterator[bytes]:
            yield b"<html><title>half a page"
            await asyncio.sleep(0.05)
            raise ConnectionAbortedError("the disk is gone")

        return StreamingResponse(half(), headers={"content-length": "100000"})

    return app
