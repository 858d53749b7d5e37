"""Stages with channels between them. A full channel holds the stage before it back; the end goes through by itself."""

import segue


async def read(lines: segue.MemorySendChannel[str]) -> None:
    async with lines:
        for number in range(6):
            await lines.send(f"line {number}")


async def work(lines: segue.MemoryReceiveChannel[str], results: segue.MemorySendChannel[str]) -> None:
    # Each worker has ends of its own. When the last worker has closed its own, the results are at their end.
    async with lines, results:
        async for line in lines:
            await segue.sleep(0.001)
            await results.send(line.upper())


async def main() -> None:
    send_lines, lines = segue.open_memory_channel[str](2)
    send_results, results = segue.open_memory_channel[str](2)
    async with segue.open_nursery() as nursery:
        nursery.start_soon(read, send_lines)
        async with lines, send_results:
            for _ in range(3):
                nursery.start_soon(work, lines.clone(), send_results.clone())
        print(*sorted([result async for result in results]), sep="\n")


segue.run(main())
