"""It is awaited."""
import asyncio


def write() -> None:
    raise OSError("disk is full")


async def main() -> None:
    try:
        await asyncio.get_running_loop().run_in_executor(None, write)
    except OSError as e:
        print(e)


asyncio.run(main())
