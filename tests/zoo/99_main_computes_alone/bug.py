# code: loop-blocked, never-yields
# tasks: Task-1
# cure: to_thread
"""Only the main task, which hashes a password for long."""
import asyncio
import hashlib


async def main() -> None:
    key = hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 3_000_000)  # BUG
    print(len(key))


asyncio.run(main())
