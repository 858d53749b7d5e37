"""The demo's scraper: ordinary aiohttp code that fetches every page of the site and keeps what it found.

A request that fails raises from its own task; whoever started the task sees why.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import aiohttp

TITLE = re.compile(rb"<title>\s*(.*?)\s*</title>", re.DOTALL)
LINK = re.compile(rb'<a\s[^>]*href="([^"#]+)')


@dataclass
class Findings:
    """What a crawl saw. `digests` has one entry per path: every fetch of a page must bring the same bytes."""

    requests: int = 0
    bytes: int = 0
    links: int = 0
    titles: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)

    def add(self, path: str, body: bytes) -> None:
        self.requests += 1
        self.bytes += len(body)
        digest = hashlib.sha256(body).hexdigest()
        if self.digests.setdefault(path, digest) != digest:
            raise ValueError(f"{path} came with other bytes than the first time")
        if path not in self.titles:
            found = TITLE.search(body)
            self.titles[path] = found[1].decode() if found else "(no title)"
            self.links += len(LINK.findall(body))


async def fetch(session: aiohttp.ClientSession, url: str, seconds: float = 30.0) -> bytes:
    """The body of `url`; a status of 400 or more is an error, and so is taking longer than `seconds`."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with session.get(url, timeout=timeout, raise_for_status=True) as response:
        return await response.read()


async def crawl(
    session: aiohttp.ClientSession,
    base: str,
    paths: Iterable[str],
    workers: int,
    progress: Callable[[int], None],
) -> Findings:
    """Fetches `paths` with `workers` at a time; calls `progress(pages done so far)` after each."""
    findings = Findings()
    waiting = iter(list(paths))

    async def work() -> None:
        for path in waiting:
            findings.add(path, await fetch(session, f"{base}/pages/{path}"))
            progress(findings.requests)

    async with asyncio.TaskGroup() as group:
        for number in range(workers):
            group.create_task(work(), name=f"worker {number}")
    return findings
