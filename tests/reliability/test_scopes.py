"""Scopes and tasks of nurseries by the million: nothing of them stays."""

import segue


def test_scopes_with_a_deadline_keep_memory_flat(scaled, usage):
    """10 million time limits that are never reached."""
    count = scaled(10_000_000)

    async def main():
        async def rounds(number):
            for _ in range(number // 1000):
                for _ in range(1000):
                    with segue.move_on_after(3600):
                        pass
                await segue.checkpoint()

        await rounds(20_000)
        before = usage.now()
        await rounds(count)
        usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    segue.run(main())


def test_tasks_of_nurseries_keep_memory_flat(scaled, usage):
    count = scaled(1_000_000)

    async def nothing():
        pass

    async def sleeper():
        await segue.sleep_forever()

    async def main():
        async def rounds(number):
            for _ in range(number // 100):
                async with segue.open_nursery() as nursery:
                    for index in range(100):
                        nursery.start_soon(sleeper if index % 10 == 0 else nothing)
                    await segue.checkpoint()
                    nursery.cancel_scope.cancel()

        await rounds(5000)
        before = usage.now()
        await rounds(count)
        usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    segue.run(main())


def test_channel_values_keep_memory_flat(scaled, usage):
    count = scaled(1_000_000)

    async def main():
        async def rounds(number):
            send, receive = segue.open_memory_channel[int](10)

            async def produce():
                async with send:
                    for value in range(number):
                        await send.send(value)

            async with segue.open_nursery() as nursery:
                nursery.start_soon(produce)
                expected = 0
                async for value in receive:
                    assert value == expected
                    expected += 1
            assert expected == number

        await rounds(5000)
        before = usage.now()
        await rounds(count)
        usage.now().since(before).assert_flat(blocks=500, malloc_bytes=256 * 1024)

    segue.run(main())
