import asyncio
import tempfile
from pathlib import Path


async def read(path: Path) -> int:
    data = await asyncio.to_thread(path.read_bytes)
    return len(data)


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "big.bin"
        await asyncio.to_thread(path.write_bytes, bytes(5_000_000))
        print(await asyncio.create_task(read(path), name="reader"))


asyncio.run(main())
