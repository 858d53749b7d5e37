import asyncio


async def main() -> None:
    try:
        await asyncio.get_running_loop().getaddrinfo("name.invalid", 80)
    except OSError:
        print("no such name")


asyncio.run(main())
