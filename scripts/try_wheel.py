"""Tries an installed Segue: that it came out of a wheel, and that its loop serves and calls.

`make wheel` runs it in an environment in which nothing can be compiled.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import shutil
import sys
from pathlib import Path

import segue


async def echo_once() -> bytes:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"over Segue")
    answer = await reader.read()
    writer.close()
    server.close()
    return answer


async def main() -> None:
    assert isinstance(asyncio.get_running_loop(), segue.EventLoop), asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        answers = [group.create_task(echo_once()) for _ in range(10)]
    assert [task.result() for task in answers] == [b"over Segue"] * 10
    program = [sys.executable, "-c", "print('child')"]
    child = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
    assert await child.communicate() == (b"child\n", None)


if __name__ == "__main__":
    assert shutil.which("cargo") is None, "cargo is on the PATH"
    distribution = importlib.metadata.distribution("segue")
    tags = distribution.read_text("WHEEL") or ""
    assert "manylinux" in tags, tags
    installed = Path(segue.__file__).resolve()
    assert "site-packages" in installed.parts, installed
    segue.run(main())
    print(f"segue {distribution.version} from {installed.parent}: works")
