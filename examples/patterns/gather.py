"""Many calls at once, at most three at a time; the first failure ends all of them."""

import segue

running = 0
most = 0


async def fetch(page: int) -> str:
    global running, most
    running += 1
    most = max(most, running)
    try:
        await segue.sleep(0.01)
        if page == 13:
            raise LookupError(f"there is no page {page}")
        return f"page {page}"
    finally:
        running -= 1


async def main() -> None:
    pages = await segue.gather(*(fetch(number) for number in range(10)), limit=3)
    print(len(pages), "pages, the first is", pages[0], "and at most", most, "were fetched at a time")

    try:
        await segue.gather(*(fetch(number) for number in range(10, 20)))
    except LookupError as error:
        print(error, "- and", running, "calls are left running")

    results = await segue.gather(fetch(12), fetch(13), return_exceptions=True)
    print(results)


segue.run(main())
