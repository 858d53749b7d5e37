"""redis-py's asyncio client against a real redis-server, over TCP and a Unix socket."""

import asyncio

import pytest
import redis.asyncio as redis
from redis.exceptions import ResponseError, WatchError


@pytest.fixture(params=["tcp", "unix"])
def open_client(request, redis_server):
    """A function that opens a client on an emptied server."""
    if request.param == "tcp":
        url = f"redis://{redis_server.host}:{redis_server.port}"
    else:
        url = f"unix://{redis_server.unix_path}"

    async def connect():
        client = redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(url, decode_responses=True))
        await client.flushall()
        return client

    return connect


def test_commands_pipelines_and_errors(run, open_client):
    async def main():
        async with await open_client() as client:
            assert await client.set("greeting", "hello")
            assert await client.get("greeting") == "hello"
            async with client.pipeline() as pipe:
                for number in range(1000):
                    pipe.incrby("sum", number)
                results = await pipe.execute()
            assert results[-1] == sum(range(1000))
            with pytest.raises(ResponseError, match="WRONGTYPE"):
                await client.lpush("greeting", "x")
            large = "x" * (4 << 20)
            await client.set("large", large)
            assert await client.get("large") == large

    run(main)


def test_many_clients_of_one_pool(run, open_client):
    async def main():
        async with await open_client() as client:

            async def one(number):
                await client.set(f"key:{number}", number)
                await client.incr("count")
                return int(await client.get(f"key:{number}"))

            assert await asyncio.gather(*map(one, range(300))) == list(range(300))
            assert await client.get("count") == "300"

    run(main)


def test_optimistic_transaction_retries(run, open_client):
    async def main():
        async with await open_client() as client:
            await client.set("counter", 0)

            async def increment():
                while True:
                    async with client.pipeline() as pipe:
                        try:
                            await pipe.watch("counter")
                            value = int(await pipe.get("counter"))
                            pipe.multi()
                            pipe.set("counter", value + 1)
                            await pipe.execute()
                            return
                        except WatchError:
                            continue

            await asyncio.gather(*(increment() for _ in range(10)))
            assert await client.get("counter") == "10"

    run(main)


def test_publish_and_subscribe(run, open_client):
    async def main():
        async with await open_client() as client, client.pubsub() as subscription:
            await subscription.subscribe("news")
            received = []

            async def listen():
                async for message in subscription.listen():
                    if message["type"] == "message":
                        received.append(message["data"])
                        if message["data"] == "stop":
                            return

            async with asyncio.TaskGroup() as group:
                group.create_task(listen())
                while await client.publish("news", "first") == 0:
                    await asyncio.sleep(0.01)
                for number in range(100):
                    await client.publish("news", str(number))
                await client.publish("news", "stop")
            assert received == ["first", *map(str, range(100)), "stop"]

    run(main)


def test_blocking_pop_waits_and_can_be_cancelled(run, open_client):
    async def main():
        async with await open_client() as client:
            waiting = asyncio.create_task(client.blpop("queue", timeout=20))
            await asyncio.sleep(0.05)
            assert not waiting.done()
            await client.rpush("queue", "job")
            assert tuple(await waiting) == ("queue", "job")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.blpop("queue", timeout=20)
            assert await client.ping()

    run(main)
