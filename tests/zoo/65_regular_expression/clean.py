"""One that doesn't."""
import asyncio
import re


async def match(text: str) -> None:
    print(re.match(r"a+$", text))


async def main() -> None:
    await asyncio.create_task(match("a" * 34 + "b"), name="matcher")


asyncio.run(main())
