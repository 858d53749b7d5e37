"""aiofiles: file I/O through the loop's executor."""

import asyncio
from pathlib import Path

import aiofiles
import aiofiles.os
import aiofiles.tempfile
import pytest


def test_write_read_seek_and_lines(run, tmp_path: Path):
    async def main():
        path = tmp_path / "notes.txt"
        async with aiofiles.open(path, "w", encoding="utf-8") as file:
            await file.writelines(f"line {number} ü\n" for number in range(1000))
        async with aiofiles.open(path, encoding="utf-8") as file:
            assert [line async for line in file] == [f"line {number} ü\n" for number in range(1000)]
            await file.seek(0)
            assert await file.readline() == "line 0 ü\n"
        assert (await aiofiles.os.stat(path)).st_size == path.stat().st_size
        await aiofiles.os.rename(path, tmp_path / "renamed.txt")
        assert await aiofiles.os.listdir(tmp_path) == ["renamed.txt"]

    run(main)


def test_many_files_at_once(run, tmp_path: Path):
    async def main():
        async def copy(number):
            source, target = tmp_path / f"{number}.in", tmp_path / f"{number}.out"
            async with aiofiles.open(source, "wb") as file:
                await file.write(bytes([number]) * 100_000)
            async with aiofiles.open(source, "rb") as reading, aiofiles.open(target, "wb") as writing:
                while block := await reading.read(8192):
                    await writing.write(block)
            return await asyncio.to_thread(target.read_bytes) == bytes([number]) * 100_000

        assert all(await asyncio.gather(*map(copy, range(40))))

    run(main)


def test_temporary_folder_and_missing_file(run):
    async def main():
        async with aiofiles.tempfile.TemporaryDirectory() as folder:
            with pytest.raises(FileNotFoundError, match="nowhere"):
                async with aiofiles.open(Path(folder) / "nowhere"):
                    pass
        assert not await aiofiles.os.path.exists(folder)

    run(main)
