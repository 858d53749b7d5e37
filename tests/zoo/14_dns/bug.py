# code: blocking-call
# tasks: Task-1
# cure: loop.getaddrinfo
"""A name is looked up on the loop."""
import asyncio
import socket


async def main() -> None:
    try:
        socket.getaddrinfo("name.invalid", 80)  # BUG
    except OSError:
        print("no such name")


asyncio.run(main())
