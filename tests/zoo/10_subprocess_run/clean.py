import asyncio
import sys


async def version() -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "print(1)", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    return out.decode()


async def main() -> None:
    print((await version()).strip())


asyncio.run(main())
