"""A /metrics route for Prometheus: the loop's lag, its queue, and what each kind of task costs."""

import asyncio
import tempfile

import segue


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    path = (await reader.readline()).split()[1]
    while (await reader.readline()).strip():
        pass
    body = segue.inspect.metrics() if path == b"/metrics" else "hello\n"
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {segue.inspect.METRICS_CONTENT_TYPE}\r\nconnection: close\r\n\r\n"
    writer.write((head + body).encode())
    await writer.drain()
    writer.close()


async def get(port: int, path: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    answered = await reader.read()
    writer.close()
    return answered.decode().partition("\r\n\r\n")[2]


def shown(metrics: str, *beginnings: str) -> list[str]:
    return [line for line in metrics.splitlines() if line.startswith(beginnings)]


async def main() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        await get(port, "/metrics")  # totals are counted from the first time on
        for _ in range(10):
            await get(port, "/")
        await asyncio.sleep(0.2)  # Prometheus takes longer
        metrics = await get(port, "/metrics")
    answers = shown(metrics, 'segue_code_started_total{coroutine="answer"')
    print("answers are counted:", sum(float(line.rpartition(" ")[2]) for line in answers) >= 11)
    print(*shown(metrics, "# TYPE segue_lag", "# TYPE segue_ready", "# TYPE segue_code_busy"), sep="\n")


with tempfile.TemporaryDirectory() as folder, segue.flight(folder):
    segue.run(main())
