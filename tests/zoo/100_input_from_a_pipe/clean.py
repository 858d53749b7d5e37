"""asyncio's pipes."""
import asyncio
import os
import threading
import time


def write(fd: int) -> None:
    time.sleep(0.3)
    os.write(fd, b"line\n")
    os.close(fd)


async def main() -> None:
    reading, writing = os.pipe()
    threading.Thread(target=write, args=(writing,)).start()
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    print(await reader.readline())
    transport.close()


asyncio.run(main())
