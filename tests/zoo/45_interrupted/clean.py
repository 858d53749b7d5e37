import asyncio
import os
import signal
import threading


async def main() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
    async with server:
        await server.serve_forever()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
