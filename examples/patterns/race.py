"""The fastest of two mirrors, with a time limit for both. The slower one is cancelled."""

import segue

MIRRORS = {"Oslo": 60, "Lima": 0.01}  # and how many seconds each takes


async def download(mirror: str) -> str:
    try:
        await segue.sleep(MIRRORS[mirror])
        return f"the file, from {mirror}"
    except segue.Cancelled as error:
        why = segue.cancellation(error)
        print(f"{mirror} was too slow: {why.reason if why else None}")
        raise


async def main() -> None:
    with segue.fail_after(5):
        print(await segue.race(*map(download, MIRRORS)))


segue.run(main())
