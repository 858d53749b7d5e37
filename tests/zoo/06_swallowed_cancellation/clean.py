import asyncio


async def worker() -> None:
    for _ in range(3):
        try:
            await asyncio.sleep(0.05)
        except Exception:
            print("ignored")
        except asyncio.CancelledError:
            print("cleaning up")
            await asyncio.sleep(0.01)
            raise


async def main() -> None:
    task = asyncio.create_task(worker(), name="worker")
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])


asyncio.run(main())
