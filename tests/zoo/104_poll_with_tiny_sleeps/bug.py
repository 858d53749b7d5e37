# code: spins
# tasks: poller
# cure: Wait
"""`sleep(0)` hidden in a helper, beside tasks that do real work now and then."""
import asyncio


class Board:
    def __init__(self) -> None:
        self.notes: list[str] = []


async def breathe() -> None:
    await asyncio.sleep(0)


async def poll(board: Board) -> str:
    while True:
        if board.notes:
            return board.notes.pop()
        await breathe()  # BUG


async def write(board: Board) -> None:
    for _ in range(5):
        await asyncio.sleep(0.08)
    board.notes.append("hello")


async def main() -> None:
    board = Board()
    async with asyncio.TaskGroup() as group:
        group.create_task(poll(board), name="poller")
        group.create_task(write(board), name="writer")


asyncio.run(main())
