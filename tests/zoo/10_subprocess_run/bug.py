# code: blocking-call
# tasks: Task-1
# cure: create_subprocess
"""`subprocess.run` waits for its program, and with it the whole loop."""
import asyncio
import subprocess
import sys


def version() -> str:
    return subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout  # BUG


async def main() -> None:
    print(version().strip())


asyncio.run(main())
