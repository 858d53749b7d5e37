"""A crawler over a site in memory: it follows links, a few pages at a time, and takes pages as they come."""

from __future__ import annotations

import random
from contextlib import aclosing

import segue

SITE = {
    "/": ["/news", "/shop", "/about"],
    "/news": ["/news/1", "/news/2", "/"],
    "/shop": ["/shop/boots", "/shop/tents", "/"],
    "/about": [],
    "/news/1": ["/news/2"],
    "/news/2": ["/shop/boots"],
    "/shop/boots": ["/shop/tents"],
    "/shop/tents": ["/lost"],
}
LIMIT = 4


async def fetch(address: str) -> tuple[str, list[str] | None]:
    """The address and the links on its page; None if there is no such page."""
    await segue.sleep(random.uniform(0, 0.01))
    return address, SITE.get(address)


async def main() -> None:
    seen = {"/"}
    waiting = 1  # addresses that were found and whose pages haven't come yet
    found, addresses = segue.open_memory_channel[str](len(SITE) * 10)
    await found.send("/")
    pages = []
    async with aclosing(segue.map_unordered(fetch, addresses, limit=LIMIT)) as results:
        async for address, links in results:
            pages.append(address if links is not None else f"{address} (not there)")
            for link in links or []:
                if link not in seen:
                    seen.add(link)
                    waiting += 1
                    await found.send(link)
            waiting -= 1
            if waiting == 0:
                found.close()  # no more addresses: the loop ends
    print(*sorted(pages), sep="\n")


segue.run(main())
