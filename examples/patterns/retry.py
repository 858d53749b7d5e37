"""A service that is away for a moment: tried again, later and later. Other errors come out at once."""

import segue

calls = 0


async def ask(question: str) -> str:
    global calls
    calls += 1
    if not question:
        raise ValueError("a question without words")
    if calls < 3:
        raise ConnectionError(f"call {calls}: nobody answers")
    return f"call {calls}: {question} Yes."


async def main() -> None:
    print(await segue.retry(ask, "Is it raining?", attempts=5, delay=0.01, on=ConnectionError))
    try:
        await segue.retry(ask, "", on=ConnectionError)
    except ValueError as error:
        print("not tried again:", error)


segue.run(main())
