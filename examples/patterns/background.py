"""Work that nobody waits for: it is held until it ends, a failure is logged, and the program's end waits for it."""

import logging
import sys

import segue


async def send_mail(to: str) -> None:
    await segue.sleep(0.01)
    if "@" not in to:
        raise ValueError(f"no address: {to}")
    print("sent to", to)


async def handle_order(customer: str) -> str:
    segue.background(send_mail(customer), name=f"mail to {customer}")
    return f"thank you, {customer}"


async def main() -> None:
    print(await handle_order("ada@example.org"))
    print(await handle_order("nobody"))


logging.basicConfig(stream=sys.stdout, format="logged: %(message)s")
segue.run(main())
print("the mails are done")
