"""asyncpg against a real PostgreSQL, over TCP, TLS (start_tls inside the connection) and a Unix socket."""

import asyncio
import datetime
import io

import asyncpg
import pytest


@pytest.fixture(params=["tcp", "tls", "unix"])
def options(request, postgres_server, certificates):
    """Keyword arguments of asyncpg.connect and create_pool."""
    common = {"user": "postgres", "database": "postgres", "port": postgres_server.port}
    if request.param == "unix":
        return common | {"host": str(postgres_server.unix_path)}
    context = certificates.client_context() if request.param == "tls" else False
    return common | {"host": "127.0.0.1", "ssl": context}


def test_queries_types_and_errors(run, options):
    async def main():
        connection = await asyncpg.connect(**options)
        try:
            row = await connection.fetchrow(
                "select $1::int as number, $2::text as text, $3::timestamp as moment,"
                " $4::bytea as blob, $5::int[] as many",
                42,
                "ünïcode",
                datetime.datetime(2024, 2, 29, 12, 30),
                bytes(range(256)),
                [1, 2, 3],
            )
            assert dict(row) == {
                "number": 42,
                "text": "ünïcode",
                "moment": datetime.datetime(2024, 2, 29, 12, 30),
                "blob": bytes(range(256)),
                "many": [1, 2, 3],
            }
            with pytest.raises(asyncpg.UndefinedTableError):
                await connection.fetch("select * from nowhere")
            assert await connection.fetchval("select count(*) from generate_series(1, 100000)") == 100_000
            rows = await connection.fetch("select i, repeat('x', 100) from generate_series(1, 20000) i")
            assert [row[0] for row in rows] == list(range(1, 20_001))
        finally:
            await connection.close()

    run(main)


def test_transactions_and_copy(run, options):
    async def main():
        connection = await asyncpg.connect(**options)
        try:
            await connection.execute("create temporary table points (x int, y int)")
            records = [(number, number * number) for number in range(10_000)]
            await connection.copy_records_to_table("points", records=records)
            with pytest.raises(ZeroDivisionError):
                async with connection.transaction():
                    await connection.execute("delete from points")
                    raise ZeroDivisionError
            assert await connection.fetchval("select sum(y) from points") == sum(y for _, y in records)
            copied = io.BytesIO()
            await connection.copy_from_table("points", output=copied, format="csv")
            assert copied.getvalue().splitlines()[-1] == b"9999,99980001"
            async with connection.transaction():
                cursor = [row["x"] async for row in connection.cursor("select x from points order by x")]
            assert cursor == [x for x, _ in records]
        finally:
            await connection.close()

    run(main)


def test_pool_under_concurrency(run, options):
    async def main():
        async with asyncpg.create_pool(min_size=2, max_size=8, **options) as pool:

            async def one(number):
                async with pool.acquire() as connection:
                    return await connection.fetchval("select $1::int * 2", number)

            assert await asyncio.gather(*map(one, range(400))) == [2 * number for number in range(400)]

    run(main)


def test_timeout_cancels_the_query_on_the_server(run, options):
    async def main():
        connection = await asyncpg.connect(**options)
        try:
            with pytest.raises(asyncio.TimeoutError):
                await connection.fetchval("select pg_sleep(30)", timeout=0.2)
            assert await connection.fetchval("select 1") == 1, (
                "the connection is usable after a cancelled query"
            )
        finally:
            await connection.close()

    run(main)


def test_listen_and_notify(run, options):
    async def main():
        listener = await asyncpg.connect(**options)
        speaker = await asyncpg.connect(**options)
        heard = asyncio.Queue()
        try:
            await listener.add_listener("channel", lambda *event: heard.put_nowait(event[-1]))
            for number in range(20):
                await speaker.execute(f"notify channel, '{number}'")
            assert [await heard.get() for _ in range(20)] == [str(number) for number in range(20)]
        finally:
            await listener.close()
            await speaker.close()

    run(main)


def test_terminated_backend_is_an_error_not_a_hang(run, options):
    async def main():
        victim = await asyncpg.connect(**options)
        killer = await asyncpg.connect(**options)
        try:
            query = asyncio.create_task(victim.fetchval("select pg_sleep(30)"))
            await asyncio.sleep(0.1)
            await killer.execute("select pg_terminate_backend($1)", victim.get_server_pid())
            with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
                await query
        finally:
            await killer.close()
            await victim.close()

    run(main)
