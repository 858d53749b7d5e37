"""In a thread."""
import asyncio
import json
import tempfile
from pathlib import Path


async def load(path: Path) -> int:
    await asyncio.sleep(0)
    text = await asyncio.to_thread(path.read_text)
    return len(json.loads(text))


async def main(path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(load(path), name="loader")
        group.create_task(asyncio.sleep(0.02), name="ticker")
    print(task.result())


with tempfile.TemporaryDirectory() as folder:
    file = Path(folder, "numbers.json")
    file.write_text(json.dumps(list(range(10_000))))
    asyncio.run(main(file))
