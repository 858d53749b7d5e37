# code: blocked-by-native-code
# tasks: matcher
# cure: process
# place: none
"""A regular expression that backtracks for long: native code that keeps the GIL."""
import asyncio
import re


async def match(text: str) -> None:
    print(re.match(r"(a|aa)+$", text))  # BUG


async def main() -> None:
    await asyncio.create_task(match("a" * 34 + "b"), name="matcher")


asyncio.run(main())
