"""In a thread."""
import asyncio
import hashlib


async def main() -> None:
    key = await asyncio.to_thread(hashlib.pbkdf2_hmac, "sha256", b"secret", b"salt", 3_000_000)
    print(len(key))


asyncio.run(main())
